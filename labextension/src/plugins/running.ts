import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IRunningSessionManagers, type IRunningSessions } from '@jupyterlab/running';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';
import { canAttach } from '../cells/attachment';
import { offloadIcon } from '../icons';
import { phaseWord } from '../models/words';
import { CommandIDs, IClusterModel, TRANSLATION_DOMAIN } from '../tokens';

/** Clusters in Lab's own list of what is running. */
export const runningPlugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-offload:running',
  description: 'Lists clusters among what is running.',
  autoStart: true,
  requires: [IClusterModel, IRunningSessionManagers],
  optional: [ITranslator],
  activate: (
    app: JupyterFrontEnd,
    clusters: IClusterModel,
    managers: IRunningSessionManagers,
    translator: ITranslator | null
  ): void => {
    const trans = (translator ?? nullTranslator).load(TRANSLATION_DOMAIN);
    const alive = () => clusters.clusters.filter(canAttach);

    // The list is drawn anew at each signal, so usage numbers, which it does not show, do not count.
    const runningChanged = new Signal<IClusterModel, unknown>(clusters);
    let shown = '';
    clusters.changed.connect(() => {
      const now = JSON.stringify(
        alive().map(c => [c.id, c.name, c.phase, c.workers.connected])
      );
      if (now !== shown) {
        shown = now;
        runningChanged.emit(undefined);
      }
    });

    const item = (id: string): IRunningSessions.IRunningItem => {
      const cluster = () => clusters.get(id);
      return {
        context: id,
        className: 'jp-Offload-runningItem',
        icon: () => offloadIcon,
        label: () => cluster()?.name ?? id,
        labelTitle: () => {
          const it = cluster();
          return it
            ? [
                it.name,
                trans.__('Site: %1', it.site_title),
                trans.__('Phase: %1', phaseWord(it.phase, trans)),
                it.reason.message
              ].join('\n')
            : id;
        },
        detail: () => {
          const it = cluster();
          return it?.phase === 'running'
            ? trans._n('%1 worker', '%1 workers', it.workers.connected, it.workers.connected)
            : it
              ? phaseWord(it.phase, trans)
              : '';
        },
        open: () => {
          clusters.selected = id;
          void app.commands.execute(CommandIDs.openPanel);
        },
        // The same command as the card's button: it asks, and it says when it fails.
        shutdown: () => void app.commands.execute(CommandIDs.stop, { id })
      };
    };

    managers.add({
      name: trans.__('Clusters'),
      supportsMultipleViews: false,
      running: () => alive().map(cluster => item(cluster.id)),
      runningChanged,
      refreshRunning: () => void clusters.refresh(),
      shutdownAll: () => {
        // Lab has asked for all of them already.
        for (const { id, name } of alive()) {
          clusters.stop(id).catch((error: Error) => {
            console.error(`The cluster ${name} could not be stopped.`, error);
          });
        }
      },
      shutdownLabel: trans.__('Shut Down Cluster'),
      shutdownAllLabel: trans.__('Shut Down All'),
      shutdownAllConfirmationText: trans.__(
        'Shut down all clusters? What their workers hold in memory is lost.'
      )
    });
  }
};
