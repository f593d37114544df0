import type { TranslationBundle } from '@jupyterlab/translation';
import { historyIcon, ReactWidget } from '@jupyterlab/ui-components';
import { phaseWord, placeWords } from '../../models/words';
import type { IClusterModel } from '../../tokens';
import { TranslationContext, useTrans } from '../shared/context';
import { useNow, useSignal } from '../shared/hooks';
import { Timeline, type TimelineReader } from './Timeline';

/** All that happened to one cluster, in the main area. */
export class TimelineWidget extends ReactWidget {
  constructor(
    private readonly _model: IClusterModel,
    readonly clusterId: string,
    private readonly _trans: TranslationBundle
  ) {
    super();
    this.addClass('jp-Offload-timelineView');
    const name = _model.get(clusterId)?.name ?? clusterId;
    this.title.label = _trans.__('Timeline · %1', name);
    this.title.caption = _trans.__('What happened to the cluster %1, and why', name);
    this.title.icon = historyIcon;
  }

  protected override render(): JSX.Element {
    return (
      <TranslationContext.Provider value={this._trans}>
        <TimelineView model={this._model} id={this.clusterId} read={this._read} />
      </TranslationContext.Provider>
    );
  }

  private readonly _read: TimelineReader = id => this._model.timeline(id);
}

interface ITimelineViewProps {
  model: IClusterModel;
  id: string;
  read: TimelineReader;
}

export function TimelineView({ model, id, read }: ITimelineViewProps): JSX.Element {
  const trans = useTrans();
  useSignal(model.changed);
  const now = useNow(10_000);
  const cluster = model.get(id);
  if (!cluster) {
    return (
      <p className="jp-Offload-dim">
        {model.isReady
          ? trans.__('This cluster was forgotten, and its history with it.')
          : trans.__('Asking the server.')}
      </p>
    );
  }
  return (
    <>
      <h2>
        {cluster.name}{' '}
        <span className="jp-Offload-phase" data-phase={cluster.phase}>
          {phaseWord(cluster.phase, trans)}
        </span>
      </h2>
      <p className="jp-Offload-dim">{placeWords(cluster, trans)}</p>
      <p className={cluster.phase === 'failed' ? 'jp-Offload-fault' : undefined}>
        {cluster.reason.message} {cluster.reason.hint}
      </p>
      <Timeline cluster={cluster} read={read} now={now} />
    </>
  );
}
