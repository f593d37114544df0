import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Dialog, type ICommandPalette, InputDialog, showDialog } from '@jupyterlab/apputils';
import {
  type INotebookTracker,
  NotebookActions,
  type NotebookPanel
} from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';
import { type Attachment, type AttachmentState, canAttach } from '../cells/attachment';
import { clientCell, type Route } from '../cells/code';
import { chooseRoute, kernelEnvironment } from '../cells/environment';
import { insertClientCell } from '../cells/insert';
import { offloadIcon } from '../icons';
import { phaseWord } from '../models/words';
import { CommandIDs, type Cluster, type IClusterModel } from '../tokens';
import { meantCluster } from './meant';
import { describe } from '../views/notebook/describe';

export interface INotebookCommands {
  app: JupyterFrontEnd;
  clusters: IClusterModel;
  tracker: INotebookTracker;
  follow: (panel: NotebookPanel) => Promise<Attachment | null>;
  /** The attachment of a notebook as far as it is known already. */
  known: (panel: NotebookPanel) => Attachment | null;
  trans: TranslationBundle;
  palette: ICommandPalette | null;
  /** Whether an inserted client cell is run. */
  runsInserted: () => boolean;
}

const NO_ARGUMENTS = { args: { type: 'object' as const, properties: {} } };

function idArgument(description: string) {
  return {
    args: {
      type: 'object' as const,
      properties: { id: { type: 'string' as const, description } }
    }
  };
}

/** Add all commands that act on the current notebook. */
export function addNotebookCommands(options: INotebookCommands): void {
  const { trans, palette } = options;
  addAttachCommands(options);
  addOtherAttachmentCommands(options);
  addCellCommands(options);
  const category = trans.__('Offload');
  for (const command of [
    CommandIDs.attachNotebook,
    CommandIDs.attachNewCluster,
    CommandIDs.detachNotebook,
    CommandIDs.insertClient
  ]) {
    palette?.addItem({ command, category });
  }
}

function stateOf(options: INotebookCommands): AttachmentState {
  const panel = options.tracker.currentWidget;
  return (panel && options.known(panel)?.state) || { kind: 'detached' };
}

/** One line of a menu or list: what tells clusters apart. */
function lineOf(cluster: Cluster, trans: TranslationBundle): string {
  const { connected, requested } = cluster.workers;
  return cluster.phase === 'running'
    ? trans.__('%1 (%2 of %3 workers)', cluster.name, connected, requested)
    : `${cluster.name} (${phaseWord(cluster.phase, trans)})`;
}

function addAttachCommands(options: INotebookCommands): void {
  const { app, clusters, tracker, follow, trans } = options;
  const { commands } = app;
  const current = () => (tracker.currentWidget ? follow(tracker.currentWidget) : null);

  commands.addCommand(CommandIDs.attachNotebook, {
    label: args => {
      const cluster = args.id ? clusters.get(args.id as string) : undefined;
      return cluster ? lineOf(cluster, trans) : trans.__('Attach Notebook to Cluster…');
    },
    caption: trans.__(
      'Connect the kernel of the current notebook to a cluster, now and after restarts'
    ),
    describedBy: idArgument('Id or name of the cluster; asked for when it is missing.'),
    isEnabled: () => tracker.currentWidget !== null,
    isToggled: args => {
      const state = stateOf(options);
      return state.kind !== 'detached' && args.id === state.id;
    },
    isToggleable: true,
    execute: async args => {
      const attachment = await current();
      const cluster = args.id ? clusters.get(args.id as string) : await chooseCluster(options);
      if (attachment && cluster) {
        attachment.attach(cluster);
      }
    }
  });

  commands.addCommand(CommandIDs.attachNewCluster, {
    label: args =>
      args.again ? trans.__('Start Again and Attach…') : trans.__('Attach to New Cluster…'),
    caption: trans.__('Make a cluster and attach the current notebook to it'),
    icon: args => (args.isPalette ? undefined : offloadIcon),
    describedBy: {
      args: {
        type: 'object',
        properties: {
          again: { type: 'string', description: 'Id of the cluster whose spec is used again.' }
        }
      }
    },
    isEnabled: () => tracker.currentWidget !== null,
    execute: async args => {
      const attachment = await current();
      const id = await newCluster(options, args.again as string | undefined);
      const cluster = id ? clusters.get(id) : undefined;
      if (attachment && cluster) {
        attachment.attach(cluster);
      }
    }
  });
}

/** Ask for a cluster; resolves to its id, or to null when the dialog was closed. */
async function newCluster(
  { app, tracker }: INotebookCommands,
  again: string | undefined
): Promise<string | null> {
  if (again) {
    return (await app.commands.execute(CommandIDs.startAgain, { id: again, attach: false })) as
      string | null;
  }
  // What the kernel runs is what the workers should run.
  const environment = tracker.currentWidget?.sessionContext.session?.kernel?.name;
  return (await app.commands.execute(
    CommandIDs.newCluster,
    environment ? { spec: { environment }, attach: false } : { attach: false }
  )) as string | null;
}

function addOtherAttachmentCommands(options: INotebookCommands): void {
  const { app, clusters, tracker, follow, trans } = options;
  const { commands } = app;
  const current = () => (tracker.currentWidget ? follow(tracker.currentWidget) : null);

  commands.addCommand(CommandIDs.detachNotebook, {
    label: trans.__('Detach Notebook from Cluster'),
    caption: trans.__('Close the client of the current notebook and forget its cluster'),
    describedBy: NO_ARGUMENTS,
    isEnabled: () => stateOf(options).kind !== 'detached',
    execute: async () => (await current())?.detach()
  });

  commands.addCommand(CommandIDs.retryAttachment, {
    label: () =>
      stateOf(options).kind === 'remembered' ? trans.__('Attach Now') : trans.__('Try Again'),
    describedBy: NO_ARGUMENTS,
    isEnabled: () => ['failed', 'remembered'].includes(stateOf(options).kind),
    execute: async () => (await current())?.retry()
  });

  commands.addCommand(CommandIDs.explainAttachment, {
    label: trans.__('Details…'),
    describedBy: NO_ARGUMENTS,
    isEnabled: () => stateOf(options).kind !== 'detached',
    execute: async () => {
      const state = stateOf(options);
      const cluster = state.kind === 'detached' ? undefined : clusters.get(state.id);
      const { label, tooltip } = describe(state, cluster, trans);
      await showDialog({
        title: label,
        body: tooltip,
        buttons: [Dialog.okButton({ label: trans.__('Close') })]
      });
    }
  });
}

function addCellCommands(options: INotebookCommands): void {
  const { app, clusters, tracker, trans } = options;
  const { commands } = app;

  commands.addCommand(CommandIDs.clientCode, {
    label: trans.__('Python that Connects to a Cluster'),
    describedBy: idArgument('Id or name of the cluster.'),
    isEnabled: args => meantCluster(clusters, args) !== undefined,
    execute: async args => {
      const cluster = meantCluster(clusters, args);
      return cluster
        ? clientCell(await routeTo(options, cluster, tracker.currentWidget))
        : null;
    }
  });

  commands.addCommand(CommandIDs.insertClient, {
    label: trans.__('Insert Client Cell'),
    caption: trans.__('Insert the cell that connects the current notebook to this cluster'),
    describedBy: idArgument('Id or name of the cluster.'),
    isEnabled: args => meantCluster(clusters, args) !== undefined,
    execute: async args => {
      const cluster = meantCluster(clusters, args);
      const panel = cluster
        ? (tracker.currentWidget ?? (await newNotebook(options, cluster)))
        : null;
      if (!cluster || !panel) {
        return;
      }
      await panel.context.ready;
      await insertClientCell(panel, await routeTo(options, cluster, panel));
      app.shell.activateById(panel.id);
      if (options.runsInserted()) {
        await NotebookActions.run(panel.content, panel.sessionContext);
      }
    }
  });
}

async function routeTo(
  { clusters }: INotebookCommands,
  cluster: Cluster,
  panel: NotebookPanel | null
): Promise<Route> {
  const [environments, connection] = await Promise.all([
    clusters.environments(),
    clusters.connection(cluster.id)
  ]);
  const { session, kernelPreference } = panel?.sessionContext ?? {};
  const name = session?.kernel?.name ?? kernelPreference?.name ?? '';
  return chooseRoute(kernelEnvironment(name, environments), cluster, connection);
}

async function newNotebook(
  { app, clusters, trans }: INotebookCommands,
  cluster: Cluster
): Promise<NotebookPanel | null> {
  const command = 'notebook:create-new';
  if (!app.commands.hasCommand(command)) {
    await showDialog({
      title: trans.__('No notebook is open'),
      body: trans.__('Open the notebook that the cell shall go to, and insert it again.'),
      buttons: [Dialog.okButton()]
    });
    return null;
  }
  const environments = await clusters.environments().catch(() => []);
  const wanted = cluster.spec.environment;
  const kernelName = environments.find(e => e.name === wanted || e.python === wanted)?.name;
  return (await app.commands.execute(
    command,
    kernelName ? { kernelName } : {}
  )) as NotebookPanel;
}

async function chooseCluster(options: INotebookCommands): Promise<Cluster | undefined> {
  const { app, clusters, trans } = options;
  const alive = clusters.clusters.filter(canAttach);
  if (alive.length === 0) {
    const answer = await showDialog({
      title: trans.__('No cluster is running'),
      body: trans.__('Make one; the notebook is attached to it as soon as it is ready.'),
      buttons: [Dialog.cancelButton(), Dialog.okButton({ label: trans.__('New Cluster…') })]
    });
    if (answer.button.accept) {
      await app.commands.execute(CommandIDs.attachNewCluster);
    }
    return undefined;
  }
  const lines = alive.map(cluster => lineOf(cluster, trans));
  const { value } = await InputDialog.getItem({
    title: trans.__('Attach Notebook to Cluster'),
    label: trans.__('Cluster'),
    items: lines,
    okLabel: trans.__('Attach')
  });
  return value === null ? undefined : alive[lines.indexOf(value)];
}
