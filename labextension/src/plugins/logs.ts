import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette, MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { historyIcon, listIcon } from '@jupyterlab/ui-components';
import type { Widget } from '@lumino/widgets';
import { CommandIDs, IClusterModel, TRANSLATION_DOMAIN } from '../tokens';
import { LogWidget } from '../views/logs/widget';
import { TimelineWidget } from '../views/timeline/widget';
import { meantCluster } from './meant';

type ClusterWidget = Widget & { clusterId: string };

/** Logs and timelines of clusters in the main area, there again after a reload. */
export const logsPlugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-offload:logs',
  description: 'Logs and timelines of clusters.',
  autoStart: true,
  requires: [IClusterModel],
  optional: [ITranslator, ICommandPalette, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    model: IClusterModel,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null
  ): void => {
    const trans = (translator ?? nullTranslator).load(TRANSLATION_DOMAIN);
    const category = trans.__('Offload');

    const addView = (
      command: string,
      namespace: string,
      options: { label: string; caption: string; icon: typeof listIcon },
      make: (id: string, source: string | null) => ClusterWidget
    ) => {
      const tracker = new WidgetTracker<MainAreaWidget<ClusterWidget>>({ namespace });
      app.commands.addCommand(command, {
        label: options.label,
        caption: options.caption,
        icon: args => (args.isPalette ? undefined : options.icon),
        describedBy: {
          args: {
            type: 'object',
            properties: {
              id: { type: 'string', description: trans.__('Id or name of the cluster.') },
              source: { type: 'string', description: trans.__('Name of a log.') }
            }
          }
        },
        isEnabled: args => meantCluster(model, args) !== undefined,
        execute: async args => {
          if (typeof args.id === 'string') {
            await model.ready; // a restored view comes before the list
          }
          const cluster = meantCluster(model, args);
          if (!cluster) {
            return null;
          }
          const source = typeof args.source === 'string' ? args.source : null;
          let widget = source
            ? undefined
            : tracker.find(it => it.content.clusterId === cluster.id);
          if (!widget) {
            const content = make(cluster.id, source);
            widget = new MainAreaWidget({ content });
            widget.id = `${namespace}-${cluster.id}${source ? `-${source}` : ''}`;
            await tracker.add(widget);
          }
          if (!widget.isAttached) {
            app.shell.add(widget, 'main', { type: options.label });
          }
          app.shell.activateById(widget.id);
          return widget;
        }
      });
      palette?.addItem({ command, category, args: { isPalette: true } });
      void restorer?.restore(tracker, {
        command,
        args: it => ({ id: it.content.clusterId }),
        name: it => it.content.clusterId
      });
    };

    addView(
      CommandIDs.openLogs,
      'jupyter-offload-logs',
      {
        label: trans.__('Cluster Logs'),
        caption: trans.__('Logs of scheduler and workers'),
        icon: listIcon
      },
      (id, source) => new LogWidget(model, id, source, trans)
    );
    addView(
      CommandIDs.openTimeline,
      'jupyter-offload-timelines',
      {
        label: trans.__('Cluster Timeline'),
        caption: trans.__('What happened to the cluster, and why'),
        icon: historyIcon
      },
      id => new TimelineWidget(model, id, trans)
    );
  }
};
