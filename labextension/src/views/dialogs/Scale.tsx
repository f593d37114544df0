import type { TranslationBundle } from '@jupyterlab/translation';
import type { Cluster } from '../../api/types';
import { ScaleState } from '../../models/change';
import { arrivedWords, profileWords } from '../../models/words';
import type { IClusterModel } from '../../tokens';
import { useTrans } from '../shared/context';
import { useSignal } from '../shared/hooks';
import { showForm } from './FormDialog';
import { WorkersFields } from './WorkersFields';

/** Change how many workers a cluster has. */
export function showScale(
  model: IClusterModel,
  cluster: Cluster,
  trans: TranslationBundle
): Promise<Cluster | null> {
  const state = new ScaleState(model, cluster, trans);
  return showForm({
    title: trans.__('Scale %1', cluster.name),
    state,
    body: <Scale state={state} />,
    acceptLabel: trans.__('Scale'),
    focusSelector: 'input[type="number"]:not(:disabled)',
    trans
  });
}

export function Scale({ state }: { state: ScaleState }): JSX.Element {
  const trans = useTrans();
  useSignal(state.changed);
  const { cluster, form, messages, limit } = state;
  return (
    <div className="jp-Offload-form">
      <p className="jp-Offload-dim">
        {trans.__(
          'Now: %1. A worker has %2.',
          arrivedWords(cluster, trans),
          profileWords(cluster.profile, trans)
        )}
      </p>
      <WorkersFields
        form={form}
        messages={messages}
        limit={limit}
        onChange={patch => state.set(patch)}
      />
      <p className="jp-Offload-dim">
        {form.isAdaptive
          ? trans.__('The number of workers follows the work, between these.')
          : trans.__('Fewer workers: results are moved off a worker before it goes.')}
      </p>
    </div>
  );
}
