import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, IToolbarWidgetRegistry } from '@jupyterlab/apputils';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import type { Attachment } from '../cells/attachment';
import { followNotebook } from '../cells/notebook';
import { CommandIDs, IClusterModel, SETTINGS_ID, TRANSLATION_DOMAIN } from '../tokens';
import { AttachmentButton } from '../views/notebook/button';
import { openAttachmentMenu } from '../views/notebook/menu';
import { notifyOf } from '../views/notebook/notify';
import { addNotebookCommands } from './notebookCommands';

/** Attaches notebooks to clusters: toolbar button, client cell, re-attachment, commands. */
export const notebookPlugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-offload:notebook',
  description: 'Attaches notebooks to clusters and inserts client cells.',
  autoStart: true,
  requires: [IClusterModel, INotebookTracker],
  optional: [ITranslator, ICommandPalette, IToolbarWidgetRegistry, ISettingRegistry],
  activate: (
    app: JupyterFrontEnd,
    clusters: IClusterModel,
    tracker: INotebookTracker,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    toolbars: IToolbarWidgetRegistry | null,
    registry: ISettingRegistry | null
  ): void => {
    const { commands } = app;
    const trans = (translator ?? nullTranslator).load(TRANSLATION_DOMAIN);

    let settings: ISettingRegistry.ISettings | null = null;
    const isOn = (name: string, otherwise: boolean): boolean =>
      (settings?.get(name).composite as boolean | undefined) ?? otherwise;
    const settingsRead =
      registry?.load(SETTINGS_ID).then(
        loaded => {
          settings = loaded;
        },
        (error: unknown) => console.error('The settings of Offload could not be read.', error)
      ) ?? Promise.resolve();

    const followed = new WeakMap<NotebookPanel, Promise<Attachment | null>>();
    const known = new WeakMap<NotebookPanel, Attachment>();
    const follow = (panel: NotebookPanel): Promise<Attachment | null> => {
      let attachment = followed.get(panel);
      if (!attachment) {
        attachment = settingsRead.then(() =>
          followNotebook(panel, {
            clusters,
            trans,
            isAutomatic: () => isOn('autoAttach', true)
          })
        );
        followed.set(panel, attachment);
        void attachment.then(it => {
          if (it) {
            known.set(panel, it);
            watch(panel, it);
          }
        });
      }
      return attachment;
    };

    const watch = (panel: NotebookPanel, attachment: Attachment): void => {
      const inPanel =
        (command: string, args = {}) =>
        () => {
          app.shell.activateById(panel.id);
          void commands.execute(command, args);
        };
      notifyOf(
        attachment,
        () => panel.title.label,
        {
          retry: () => attachment.retry(),
          explain: inPanel(CommandIDs.explainAttachment),
          startAgain: id => inPanel(CommandIDs.attachNewCluster, { again: id })(),
          chooseAnother: inPanel(CommandIDs.attachNotebook)
        },
        trans
      );
      // Labels and check marks of the commands speak of the attachment.
      attachment.changed.connect(() => commands.notifyCommandChanged());
    };

    tracker.widgetAdded.connect((_, panel) => void follow(panel));
    tracker.forEach(panel => void follow(panel));

    toolbars?.addFactory<NotebookPanel>(
      'Notebook',
      'offload-cluster',
      panel =>
        new AttachmentButton({
          attachment: follow(panel),
          clusters,
          trans,
          openMenu: (anchor, attachment) => {
            app.shell.activateById(panel.id);
            openAttachmentMenu(commands, anchor, attachment.state, clusters.clusters);
          }
        })
    );

    addNotebookCommands({
      app,
      clusters,
      tracker,
      follow,
      known: panel => known.get(panel) ?? null,
      trans,
      palette,
      runsInserted: () => isOn('runInsertedCell', false)
    });
  }
};
