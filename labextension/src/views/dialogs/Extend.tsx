import type { TranslationBundle } from '@jupyterlab/translation';
import { HTMLSelect } from '@jupyterlab/ui-components';
import type { Cluster } from '../../api/types';
import { EXTEND_CHOICES_S, ExtendState } from '../../models/change';
import { durationWords, IDLE_CHOICES_S } from '../../models/form';
import { formatDuration } from '../../models/quantities';
import { endWords } from '../../models/words';
import type { IClusterModel } from '../../tokens';
import { useTrans } from '../shared/context';
import { useNow, useSignal } from '../shared/hooks';
import { Field } from './Field';
import { showForm } from './FormDialog';

/** Change when a cluster ends by itself. */
export function showExtend(
  model: IClusterModel,
  cluster: Cluster,
  trans: TranslationBundle
): Promise<Cluster | null> {
  const state = new ExtendState(model, cluster, trans);
  return showForm({
    title: trans.__('Extend %1', cluster.name),
    state,
    body: <Extend state={state} />,
    acceptLabel: trans.__('Change'),
    focusSelector: 'select',
    trans
  });
}

export function Extend({ state }: { state: ExtendState }): JSX.Element {
  const trans = useTrans();
  useSignal(state.changed);
  const now = useNow(10_000);
  const { cluster, form, messages } = state;
  const never = trans.__('never');
  const noEnd = trans.__('no end');
  const most = cluster.profile.maximum_lifetime_s;
  const end = endWords(cluster, now, trans);
  return (
    <div className="jp-Offload-form">
      <p className="jp-Offload-dim" title={end?.title}>
        {end
          ? trans.__('As it is, %1 %2.', cluster.name, end.text)
          : trans.__('As it is, %1 does not end by itself.', cluster.name)}
      </p>
      <div className="jp-Offload-fields">
        <Field label={trans.__('Ends at the latest')} message={messages.lifetime_s}>
          {tie => (
            <HTMLSelect
              {...tie}
              value={form.lifetimeFromNow}
              onChange={event => state.set({ lifetimeFromNow: event.target.value })}
            >
              <option value="">
                {trans.__('as it is (%1)', durationWords(state.lifetimeS, noEnd, trans))}
              </option>
              {EXTEND_CHOICES_S.map(it => {
                const words = it === 0 ? noEnd : trans.__('in %1', formatDuration(it, trans));
                const isAllowed = state.isAllowed(it);
                return (
                  <option key={it} value={String(it)} disabled={!isAllowed}>
                    {isAllowed || most === null
                      ? words
                      : trans.__(
                          '%1 (at most %2 in all here)',
                          words,
                          formatDuration(most, trans)
                        )}
                  </option>
                );
              })}
            </HTMLSelect>
          )}
        </Field>
        <Field label={trans.__('Ends when idle for')} message={messages.idle_timeout_s}>
          {tie => (
            <HTMLSelect
              {...tie}
              value={form.idleTimeout}
              onChange={event => state.set({ idleTimeout: event.target.value })}
            >
              <option value="">
                {trans.__('as it is (%1)', durationWords(state.idleTimeoutS, never, trans))}
              </option>
              {IDLE_CHOICES_S.map(it => (
                <option key={it} value={String(it)}>
                  {durationWords(it, never, trans)}
                </option>
              ))}
            </HTMLSelect>
          )}
        </Field>
      </div>
      {messages.form && <p className="jp-Offload-dim">{messages.form}</p>}
    </div>
  );
}
