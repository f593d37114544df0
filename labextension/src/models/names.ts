const FIRST = [
  'charm',
  'strange',
  'lepton',
  'muon',
  'boson',
  'gluon',
  'photon',
  'kaon',
  'pion',
  'tau'
];

/** Pattern of a cluster name, as in the API. */
export const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$/;

/** A name that no cluster of the list has: the wanted one, or the same with a number. */
export function freeName(taken: Iterable<string>, wanted?: string): string {
  const names = new Set(taken);
  if (!wanted) {
    const free = FIRST.find(it => !names.has(it));
    if (free) {
      return free;
    }
  }
  const base = (wanted || FIRST[0]).replace(/-\d+$/, '').slice(0, 36);
  if (wanted && !names.has(wanted)) {
    return wanted;
  }
  let number = 2;
  while (names.has(`${base}-${number}`)) {
    number += 1;
  }
  return `${base}-${number}`;
}
