import type { TranslationBundle } from '@jupyterlab/translation';
import type {
  Accelerator,
  AcceleratorCapacity,
  Cluster,
  Phase,
  Profile,
  Site
} from '../api/types';
import { exactTime, formatBytes, formatDuration, secondsBetween } from './quantities';

/** A sentence fragment and what its tooltip says. */
export interface IWords {
  text: string;
  title: string;
}

/** The first line of a message, and what follows it, such as the end of a log. */
export function splitMessage(message: string): { head: string; rest: string } {
  const text = message.trim();
  const at = text.search(/\r?\n/);
  return at < 0
    ? { head: text, rest: '' }
    : { head: text.slice(0, at).trimEnd(), rest: text.slice(at).replace(/^[\r\n]+/, '') };
}

export function phaseWord(phase: Phase, trans: TranslationBundle): string {
  const words: Record<Phase, string> = {
    pending: trans.__('pending'),
    starting: trans.__('starting'),
    running: trans.__('running'),
    stopping: trans.__('stopping'),
    stopped: trans.__('stopped'),
    failed: trans.__('failed')
  };
  return words[phase];
}

function acceleratorWords(accelerators: readonly Accelerator[]): string[] {
  return accelerators.map(it => `${it.count} × ${it.model || it.resource}`);
}

/** One worker in words, such as "8 cores, 32 GiB, 1 × A100". */
export function profileWords(
  profile: Pick<Profile, 'cores' | 'memory_bytes' | 'accelerators'>,
  trans: TranslationBundle
): string {
  return [
    trans._n('%1 core', '%1 cores', profile.cores),
    ...(profile.memory_bytes ? [formatBytes(profile.memory_bytes)] : []),
    ...acceleratorWords(profile.accelerators)
  ].join(', ');
}

/** Where a cluster runs and what was asked for, such as "This machine · 2 × 1 core, 2 GiB". */
export function placeWords(cluster: Cluster, trans: TranslationBundle): string {
  const { adaptive } = cluster.spec;
  const count = adaptive
    ? trans.__('%1 to %2', adaptive.minimum, adaptive.maximum)
    : String(cluster.workers.requested);
  return `${cluster.site_title} · ${count} × ${profileWords(cluster.profile, trans)}`;
}

/** How much arrived, such as "6 of 8 workers connected · 2 starting". */
export function arrivedWords(cluster: Cluster, trans: TranslationBundle): string {
  const { requested, starting, connected } = cluster.workers;
  if (requested === 0 && connected === 0) {
    return trans.__('no workers');
  }
  const parts = [
    trans._n('%2 of %1 worker connected', '%2 of %1 workers connected', requested, connected)
  ];
  if (starting > 0) {
    parts.push(trans.__('%1 starting', starting));
  }
  return parts.join(' · ');
}

/** When and why a cluster ends by itself; null when it does not. */
export function endWords(cluster: Cluster, now: Date, trans: TranslationBundle): IWords | null {
  if (!cluster.end) {
    return null;
  }
  const { at, because } = cluster.end;
  const left = formatDuration(-secondsBetween(at, now), trans);
  const exact = exactTime(at, trans);
  switch (because) {
    case 'idle':
      return {
        text: trans.__('ends in %1 if idle', left),
        title: trans.__('Ends at %1 if nothing is computed until then.', exact)
      };
    case 'lifetime':
      return {
        text: trans.__('ends in %1 (lifetime)', left),
        title: trans.__('Ends at %1, when its lifetime is over.', exact)
      };
    case 'walltime':
      return {
        text: trans.__('ends in %1 (walltime)', left),
        title: trans.__('Ends at %1, when the site ends its workers.', exact)
      };
  }
}

/**
 * What is free at a site, such as "14 of 16 cores free". A site on this machine measures how many cores compute nothing
 * at the moment, which is another thing than not being given to anybody: it says "idle".
 */
export function capacityWords(site: Site, trans: TranslationBundle): string {
  const { cores_total, cores_free } = site.capacity;
  const parts: string[] = [];
  if (cores_free !== null && cores_total !== null) {
    parts.push(
      isMeasured(site)
        ? trans.__('%1 of %2 cores idle', cores_free, cores_total)
        : trans.__('%1 of %2 cores free', cores_free, cores_total)
    );
  } else if (cores_free !== null) {
    parts.push(trans.__('%1 cores free', cores_free));
  } else if (cores_total !== null) {
    parts.push(trans.__('%1 cores, free number unknown', cores_total));
  }
  if (parts.length && site.capacity.source === 'nominal') {
    parts.push(trans.__('as its operator declared'));
  }
  return parts.length ? parts.join(' · ') : trans.__('capacity unknown');
}

/** How many of an accelerator are free, such as "A100 9 of 12 free"; what nobody reports is unknown, never 0. */
export function acceleratorFree(it: AcceleratorCapacity, trans: TranslationBundle): IWords {
  const name = it.title || it.model || it.resource;
  if (it.free !== null && it.total !== null) {
    return { text: trans.__('%1 %2 of %3 free', name, it.free, it.total), title: it.resource };
  }
  if (it.free !== null) {
    return { text: trans.__('%1 %2 free', name, it.free), title: it.resource };
  }
  const title = trans.__('%1: the site does not tell how many are free.', it.resource);
  return it.total !== null
    ? { text: trans.__('%1 × %2, free unknown', it.total, name), title }
    : { text: trans.__('%1, number unknown', name), title };
}

/** That fewer accelerators are free than the workers asked for need; null when there is enough, or nobody knows. */
export function shortageWords(
  site: Site,
  profile: Profile,
  workers: number,
  trans: TranslationBundle
): string | null {
  for (const wanted of profile.accelerators) {
    const there = site.capacity.accelerators.find(
      it =>
        it.resource === wanted.resource &&
        (!wanted.model || !it.model || it.model === wanted.model)
    );
    const need = wanted.count * workers;
    if (there && there.free !== null && need > there.free) {
      return trans.__(
        '%1 workers need %2 × %3; %4 free now, so that some will wait.',
        workers,
        need,
        there.title || wanted.model || wanted.resource,
        there.free
      );
    }
  }
  return null;
}

/** How long ago a remote site was heard; null where that is not known. */
export function heardWords(site: Site, now: Date, trans: TranslationBundle): IWords | null {
  const at = site.health.last_heard_at;
  if (at === null) {
    return null;
  }
  const ago = formatDuration(secondsBetween(at, now), trans);
  return { text: trans.__('last heard %1 ago', ago), title: exactTime(at, trans) };
}

function isMeasured(site: Site): boolean {
  return site.backend === 'local';
}

/** What the line of a site says: its capacity, or why it cannot take work. */
export function siteWords(site: Site, now: Date, trans: TranslationBundle): IWords {
  const { health } = site;
  const hint = health.hint ? ` ${health.hint}` : '';
  if (health.state === 'unhealthy') {
    return {
      text: splitMessage(health.message).head || trans.__('cannot take work'),
      title: (health.message || trans.__('The site cannot take work.')) + hint
    };
  }
  if (health.state === 'unknown') {
    const ago = heardWords(site, now, trans)?.text ?? trans.__('not heard yet');
    const head = splitMessage(health.message).head;
    return {
      text: head || ago,
      title: (health.message || trans.__('Nobody could look.')) + hint
    };
  }
  const { cores_free, memory_free_bytes, memory_total_bytes } = site.capacity;
  const parts = [site.description || site.title];
  if (isMeasured(site) && cores_free !== null) {
    parts.push(
      trans.__(
        'Idle are cores that compute nothing just now; anything on this machine may use the others, and a worker that waits uses none.'
      )
    );
  }
  if (memory_free_bytes !== null && memory_total_bytes !== null) {
    parts.push(
      trans.__(
        'Memory: %1 of %2 free.',
        formatBytes(memory_free_bytes),
        formatBytes(memory_total_bytes)
      )
    );
  }
  return { text: capacityWords(site, trans), title: parts.join('\n') };
}

/** How long workers took to arrive of late, in words. */
export function readyWords(site: Site, trans: TranslationBundle): string {
  const seconds = site.capacity.expected_start_s;
  if (site.health.state === 'unhealthy') {
    return trans.__('cannot take work');
  }
  if (seconds === null) {
    return trans.__('time to ready unknown');
  }
  return seconds < 1
    ? trans.__('ready in < 1 s')
    : trans.__('ready in about %1', formatDuration(seconds, trans));
}
