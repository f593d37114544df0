import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Clipboard, ICommandPalette, Notification } from '@jupyterlab/apputils';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { copyIcon, deleteIcon, refreshIcon, stopIcon } from '@jupyterlab/ui-components';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import { OffloadProblem } from '../api/problem';
import type { Cluster, ClusterSpec } from '../api/types';
import { canAttach } from '../cells/attachment';
import { readMemory } from '../cells/notebook';
import { offloadIcon } from '../icons';
import { formOf, type IClusterForm, startForm } from '../models/form';
import { NewClusterState } from '../models/newCluster';
import { isFinished } from '../models/store';
import { CommandIDs, IClusterModel, SETTINGS_ID, TRANSLATION_DOMAIN } from '../tokens';
import { confirmForget, confirmStop } from '../views/dialogs/confirm';
import { showExtend } from '../views/dialogs/Extend';
import { showNewCluster } from '../views/dialogs/NewCluster';
import { showScale } from '../views/dialogs/Scale';
import { meantCluster } from './meant';

/** Where the last choice of the dialog is remembered. */
const LAST_CHOICE = 'jupyter-offload:last-choice';

interface ILastChoice {
  form: Partial<IClusterForm>;
  /** Whether a notebook without cluster was to be attached. */
  attach?: boolean;
}

/** Commands that create and change clusters. */
export const commandsPlugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-offload:commands',
  description: 'Commands that create, change and end clusters.',
  autoStart: true,
  requires: [IClusterModel],
  optional: [ITranslator, ICommandPalette, IStateDB, ISettingRegistry, INotebookTracker],
  activate: (
    app: JupyterFrontEnd,
    model: IClusterModel,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    state: IStateDB | null,
    registry: ISettingRegistry | null,
    tracker: INotebookTracker | null
  ): void => {
    const trans = (translator ?? nullTranslator).load(TRANSLATION_DOMAIN);
    const options = { app, model, trans, state, registry, tracker };
    addNewCluster(options);
    addStartAgain(options);
    addRefresh(options);
    addChangeCommands(app, model, trans);
    addEndCommands(app, model, trans);
    model.changed.connect(() => app.commands.notifyCommandChanged());
    model.selectedChanged.connect(() => app.commands.notifyCommandChanged());
    const category = trans.__('Offload');
    for (const command of [
      CommandIDs.newCluster,
      CommandIDs.refresh,
      CommandIDs.scale,
      CommandIDs.extend,
      CommandIDs.stop,
      CommandIDs.startAgain,
      CommandIDs.forget,
      CommandIDs.copyName
    ]) {
      palette?.addItem({ command, category, args: { isPalette: true } });
    }
  }
};

interface INewOptions {
  app: JupyterFrontEnd;
  model: IClusterModel;
  trans: TranslationBundle;
  state: IStateDB | null;
  registry: ISettingRegistry | null;
  tracker: INotebookTracker | null;
}

function addNewCluster(options: INewOptions): void {
  const { app, trans } = options;
  app.commands.addCommand(CommandIDs.newCluster, {
    label: trans.__('New Cluster…'),
    caption: trans.__('Start a Dask cluster on a site of your choice'),
    icon: args => (args.isPalette ? undefined : offloadIcon),
    describedBy: {
      args: {
        type: 'object',
        properties: {
          spec: {
            type: 'object',
            description: 'Parts of a cluster spec that fill the dialog in.'
          },
          attach: {
            type: 'boolean',
            description: 'False does not offer to attach the current notebook.'
          }
        }
      }
    },
    execute: async args => {
      const wanted = (args.spec ?? {}) as Partial<ClusterSpec>;
      const cluster = await askForCluster(options, wanted, args.attach !== false);
      return cluster?.id ?? null;
    }
  });
}

function addStartAgain(options: INewOptions): void {
  const { app, model, trans } = options;
  app.commands.addCommand(CommandIDs.startAgain, {
    label: trans.__('Start Again…'),
    caption: trans.__('Make a new cluster of the same spec'),
    icon: args => (args.isPalette ? undefined : refreshIcon),
    describedBy: {
      args: {
        type: 'object',
        properties: {
          id: { type: 'string', description: 'Id or name of the cluster.' },
          ask: { type: 'boolean', description: 'False starts it without the dialog.' },
          attach: {
            type: 'boolean',
            description: 'False does not offer to attach the current notebook.'
          }
        }
      }
    },
    isEnabled: args => meantCluster(model, args) !== undefined,
    execute: async args => {
      const old = meantCluster(model, args);
      if (!old) {
        return null;
      }
      if (args.ask === false) {
        const again = await said(trans, () => model.startAgain(old.id));
        return again?.id ?? null;
      }
      return (await askForCluster(options, old.spec, args.attach !== false))?.id ?? null;
    }
  });
}

function addRefresh({ app, model, trans }: INewOptions): void {
  app.commands.addCommand(CommandIDs.refresh, {
    label: trans.__('Refresh Clusters and Sites'),
    icon: args => (args.isPalette ? undefined : refreshIcon),
    describedBy: { args: { type: 'object', properties: {} } },
    execute: async () => {
      await Promise.all([model.refresh(), model.refreshSites()]);
    }
  });
}

/** Open the dialog with the last choice, changed by what the caller wants. */
async function askForCluster(
  { app, model, trans, state, registry, tracker }: INewOptions,
  wanted: Partial<ClusterSpec>,
  offersAttach: boolean
): Promise<Cluster | null> {
  const [remembered, settings] = await Promise.all([
    state?.fetch(LAST_CHOICE).catch(() => undefined) as Promise<ILastChoice | undefined>,
    registry?.load(SETTINGS_ID).catch(() => null),
    model.sites.length > 0 ? undefined : model.refreshSites()
  ]);
  const idle = (settings?.get('idleTimeout').composite as string | undefined) ?? 'profile';
  const form = startForm(
    model.sites,
    model.clusters,
    { ...remembered?.form, ...formOf(wanted) },
    idle === 'profile' ? '' : idle
  );
  const panel = offersAttach ? attachablePanel(app, tracker) : null;
  // A notebook that has a cluster already keeps it unless told otherwise.
  const isFree = panel !== null && !hasCluster(panel, model);
  const dialog = new NewClusterState(
    model,
    form,
    trans,
    panel && { title: panel.title.label, isOn: isFree && remembered?.attach !== false }
  );
  const kernel = tracker?.currentWidget?.sessionContext.session?.kernel?.name ?? null;
  const cluster = await showNewCluster(dialog, kernel, trans);
  if (cluster) {
    model.selected = cluster.id;
    // Not the name, which is new each time, nor the variables, which may hold what others must not read.
    const choice: ILastChoice = { form: { ...dialog.form }, attach: remembered?.attach };
    delete choice.form.name;
    delete choice.form.env;
    if (dialog.attach && isFree) {
      choice.attach = dialog.attach.isOn;
    }
    await state?.save(LAST_CHOICE, JSON.parse(JSON.stringify(choice)));
    if (dialog.attach?.isOn) {
      // It waits by itself until the cluster can be connected to.
      await app.commands.execute(CommandIDs.attachNotebook, { id: cluster.id });
    }
  }
  return cluster;
}

/** The notebook that its user looks at, if it may speak Python. */
function attachablePanel(
  app: JupyterFrontEnd,
  tracker: INotebookTracker | null
): NotebookPanel | null {
  const panel = tracker?.currentWidget ?? null;
  const language = panel?.context.model?.defaultKernelLanguage || 'python';
  const canAsk = app.commands.hasCommand(CommandIDs.attachNotebook);
  return canAsk && panel === app.shell.currentWidget && language === 'python' ? panel : null;
}

/** Whether the cluster that a notebook remembers is still there. */
function hasCluster(panel: NotebookPanel, model: IClusterModel): boolean {
  const remembered = readMemory(panel);
  return (
    remembered !== null &&
    model.clusters.some(
      it => canAttach(it) && (it.id === remembered.id || it.name === remembered.cluster)
    )
  );
}

function addChangeCommands(
  app: JupyterFrontEnd,
  model: IClusterModel,
  trans: TranslationBundle
): void {
  const alive = (args: ReadonlyPartialJSONObject) => {
    const cluster = meantCluster(model, args);
    return cluster && !isFinished(cluster) ? cluster : undefined;
  };
  app.commands.addCommand(CommandIDs.scale, {
    label: trans.__('Scale…'),
    caption: trans.__('Change the number of workers'),
    describedBy: idArgument(trans),
    isEnabled: args => alive(args) !== undefined,
    execute: async args => {
      const cluster = alive(args);
      return cluster ? (await showScale(model, cluster, trans))?.id : null;
    }
  });
  app.commands.addCommand(CommandIDs.extend, {
    label: trans.__('Extend…'),
    caption: trans.__('Change when the cluster ends by itself'),
    describedBy: idArgument(trans),
    isEnabled: args => alive(args) !== undefined,
    execute: async args => {
      const cluster = alive(args);
      return cluster ? (await showExtend(model, cluster, trans))?.id : null;
    }
  });
  app.commands.addCommand(CommandIDs.copyName, {
    label: trans.__('Copy Name'),
    caption: trans.__('Copy the name of the cluster'),
    icon: args => (args.isPalette ? undefined : copyIcon),
    describedBy: idArgument(trans),
    isEnabled: args => meantCluster(model, args) !== undefined,
    execute: args => {
      const cluster = meantCluster(model, args);
      if (cluster) {
        Clipboard.copyToSystem(cluster.name);
      }
    }
  });
}

function addEndCommands(
  app: JupyterFrontEnd,
  model: IClusterModel,
  trans: TranslationBundle
): void {
  app.commands.addCommand(CommandIDs.stop, {
    label: trans.__('Shut Down…'),
    caption: trans.__('End the cluster'),
    icon: args => (args.isPalette ? undefined : stopIcon),
    describedBy: idArgument(trans),
    isEnabled: args => {
      const cluster = meantCluster(model, args);
      return cluster !== undefined && !isFinished(cluster) && cluster.phase !== 'stopping';
    },
    execute: async args => {
      const cluster = meantCluster(model, args);
      if (!cluster) {
        return;
      }
      // What has not started holds nothing that could be lost.
      const holdsNothing = cluster.phase === 'pending' || cluster.phase === 'starting';
      if (holdsNothing || (await confirmStop(model.get(cluster.id) ?? cluster, trans))) {
        await said(trans, () => model.stop(cluster.id));
      }
    }
  });
  app.commands.addCommand(CommandIDs.forget, {
    label: trans.__('Forget…'),
    caption: trans.__('Remove the card and the logs of a finished cluster'),
    icon: args => (args.isPalette ? undefined : deleteIcon),
    describedBy: idArgument(trans),
    isEnabled: args => {
      const cluster = meantCluster(model, args);
      return cluster !== undefined && isFinished(cluster);
    },
    execute: async args => {
      const cluster = meantCluster(model, args);
      if (cluster && (await confirmForget(cluster, trans))) {
        await said(trans, () => model.forget(cluster.id));
      }
    }
  });
}

function idArgument(trans: TranslationBundle) {
  return {
    args: {
      type: 'object' as const,
      properties: {
        id: { type: 'string' as const, description: trans.__('Id or name of the cluster.') }
      }
    }
  };
}

/** Do it; what goes wrong without a dialog is said as a notification. */
async function said<T>(trans: TranslationBundle, task: () => Promise<T>): Promise<T | null> {
  try {
    return await task();
  } catch (error) {
    const { message, hint } = OffloadProblem.from(error);
    Notification.error(hint ? trans.__('%1 %2', message, hint) : message, { autoClose: false });
    return null;
  }
}
