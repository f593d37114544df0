import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import { offloadIcon } from '../icons';
import { CommandIDs, IClusterModel, TRANSLATION_DOMAIN } from '../tokens';

/** How many clusters run, at the bottom of the window. */
export const statusbarPlugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-offload:statusbar',
  description: 'Says in the status bar how many clusters run.',
  autoStart: true,
  requires: [IClusterModel, IStatusBar],
  optional: [ITranslator],
  activate: (
    app: JupyterFrontEnd,
    clusters: IClusterModel,
    statusBar: IStatusBar,
    translator: ITranslator | null
  ): void => {
    const trans = (translator ?? nullTranslator).load(TRANSLATION_DOMAIN);
    const item = ReactWidget.create(
      <ClusterStatus
        clusters={clusters}
        trans={trans}
        onOpen={() => void app.commands.execute(CommandIDs.openPanel)}
      />
    );
    item.addClass('jp-Offload-status');
    statusBar.registerStatusItem('jupyter-offload:clusters', {
      item,
      align: 'left',
      rank: 10,
      isActive: () => statusOf(clusters, trans) !== null,
      activeStateChanged: clusters.changed
    });
  }
};

interface IStatus {
  text: string;
  title: string;
}

/** What the status bar says; null when there is nothing to say. */
export function statusOf(
  { clusters }: Pick<IClusterModel, 'clusters'>,
  trans: TranslationBundle
): IStatus | null {
  const alive = clusters.filter(it => ['pending', 'starting', 'running'].includes(it.phase));
  if (alive.length === 0) {
    return null;
  }
  const starting = alive.filter(it => it.phase !== 'running').length;
  const workers = alive.reduce((sum, it) => sum + it.workers.connected, 0);
  const parts = [
    trans._n('%1 cluster', '%1 clusters', alive.length, alive.length),
    trans._n('%1 worker', '%1 workers', workers, workers)
  ];
  if (starting > 0) {
    parts.push(trans.__('%1 starting', starting));
  }
  return {
    text: parts.join(' · '),
    title: [
      ...alive.map(it => `${it.name}: ${it.reason.message}`),
      trans.__('Click to open the panel')
    ].join('\n')
  };
}

interface IProps {
  clusters: IClusterModel;
  trans: TranslationBundle;
  onOpen: () => void;
}

function ClusterStatus({ clusters, trans, onOpen }: IProps): JSX.Element {
  return (
    <UseSignal signal={clusters.changed}>
      {() => {
        const status = statusOf(clusters, trans);
        return status ? (
          <button
            type="button"
            className="jp-Offload-statusButton"
            title={status.title}
            onClick={onOpen}
          >
            <offloadIcon.react tag={null} />
            {status.text}
          </button>
        ) : (
          <></>
        );
      }}
    </UseSignal>
  );
}
