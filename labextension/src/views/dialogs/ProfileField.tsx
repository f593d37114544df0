import { HTMLSelect } from '@jupyterlab/ui-components';
import { formatDuration } from '../../models/quantities';
import type { NewClusterState } from '../../models/newCluster';
import { profileWords, shortageWords } from '../../models/words';
import { useTrans } from '../shared/context';
import { Field } from './Field';

const OWN_SIZE = '\u0000own';

/** Worker size: a profile of the site, greyed with the reason where it cannot be had, or an own size. */
export function ProfileField({ state }: { state: NewClusterState }): JSX.Element {
  const trans = useTrans();
  const { form, messages, site, profile } = state;
  const unavailable = Object.entries(site?.unavailable ?? {});
  const shortage =
    site && profile ? shortageWords(site, profile, state.workersWanted, trans) : null;
  const note =
    profile?.walltime_s != null
      ? trans.__(
          'The site ends each worker after %1.',
          formatDuration(profile.walltime_s, trans)
        )
      : undefined;
  return (
    <Field label={trans.__('Worker')} message={messages.profile} note={note}>
      {tie => (
        <>
          <HTMLSelect
            {...tie}
            value={form.hasOwnSize ? OWN_SIZE : (profile?.name ?? '')}
            onChange={event =>
              event.target.value === OWN_SIZE
                ? state.set({ hasOwnSize: true })
                : state.setProfile(event.target.value)
            }
          >
            {(site?.profiles ?? []).map(it => {
              const why = site?.unavailable[it.name];
              const words = `${it.title || it.name}: ${profileWords(it, trans)}`;
              return (
                <option key={it.name} value={it.name} disabled={why !== undefined}>
                  {why === undefined ? words : `${words} — ${why}`}
                </option>
              );
            })}
            <option value={OWN_SIZE}>{trans.__('Own size…')}</option>
          </HTMLSelect>
          {shortage && <span className="jp-Offload-warning">{shortage}</span>}
          {unavailable.length > 0 && (
            <details className="jp-Offload-unusable">
              <summary>
                {trans._n(
                  '%1 worker size cannot be had now',
                  '%1 worker sizes cannot be had now',
                  unavailable.length
                )}
              </summary>
              <ul>
                {unavailable.map(([name, why]) => (
                  <li key={name}>{`${titleOf(state, name)}: ${why}`}</li>
                ))}
              </ul>
            </details>
          )}
        </>
      )}
    </Field>
  );
}

function titleOf(state: NewClusterState, name: string): string {
  return state.site?.profiles.find(it => it.name === name)?.title || name;
}

/** What workers run at a site that has images; nothing elsewhere. */
export function ImageField({ state }: { state: NewClusterState }): JSX.Element | null {
  const trans = useTrans();
  const { form, messages, site } = state;
  const images = site?.images ?? [];
  if (images.length === 0) {
    return null;
  }
  const chosen = images.find(it => it.name === form.image) ?? images[0];
  return (
    <Field
      label={trans.__('Image')}
      message={messages.image}
      note={trans.__('of the workers: %1', chosen.image)}
    >
      {tie => (
        <HTMLSelect
          {...tie}
          value={chosen.name}
          onChange={event => state.set({ image: event.target.value })}
        >
          {images.map(it => (
            <option key={it.name} value={it.name}>
              {it.title || it.name}
            </option>
          ))}
        </HTMLSelect>
      )}
    </Field>
  );
}
