import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import type { IDisposable } from '@lumino/disposable';
import { Menu } from '@lumino/widgets';
import { offloadIcon } from '../icons';
import { CommandIDs, IClusterModel, TRANSLATION_DOMAIN } from '../tokens';
import type { ICardActions } from '../views/cards/actions';
import { dragCell } from '../views/panel/drag';
import { OffloadPanel } from '../views/panel/widget';

/** Rare actions of a card, in this order. */
const MENU = [
  CommandIDs.extend,
  CommandIDs.openTimeline,
  CommandIDs.defaultLayout,
  CommandIDs.copyName,
  CommandIDs.startAgain,
  CommandIDs.forget
];

/** The left panel. */
export const panelPlugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-offload:panel',
  description: 'The left panel with clusters and sites.',
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
    const { commands } = app;
    const trans = (translator ?? nullTranslator).load(TRANSLATION_DOMAIN);
    const panel = new OffloadPanel(
      {
        model,
        actions: cardActions(commands, model),
        readTimeline: id => model.timeline(id),
        onNew: site =>
          void commands.execute(CommandIDs.newCluster, site ? { spec: { site } } : {}),
        onRefresh: () => void commands.execute(CommandIDs.refresh)
      },
      trans
    );
    let watching: IDisposable | null = null;
    panel.shown.connect((_, isShown) => {
      watching?.dispose();
      watching = isShown ? model.watch() : null;
    });
    app.shell.add(panel, 'left', { rank: 300, type: 'Offload' });
    restorer?.add(panel, panel.id);

    commands.addCommand(CommandIDs.openPanel, {
      label: trans.__('Show Clusters and Sites'),
      caption: trans.__('Show the Offload panel'),
      icon: args => (args.isPalette ? undefined : offloadIcon),
      describedBy: { args: { type: 'object', properties: {} } },
      execute: () => app.shell.activateById(panel.id)
    });
    palette?.addItem({
      command: CommandIDs.openPanel,
      category: trans.__('Offload'),
      args: { isPalette: true }
    });
  }
};

/** What the cards ask for, as commands, so that menus, palette and cards do the same. */
function cardActions(commands: CommandRegistry, model: IClusterModel): ICardActions {
  const run = (command: string) => (id: string) => void commands.execute(command, { id });
  return {
    select: id => {
      model.selected = id;
    },
    insertClient: run(CommandIDs.insertClient),
    scale: run(CommandIDs.scale),
    dashboards: run(CommandIDs.openDashboard),
    logs: run(CommandIDs.openLogs),
    extend: run(CommandIDs.extend),
    stop: run(CommandIDs.stop),
    startAgain: run(CommandIDs.startAgain),
    forget: run(CommandIDs.forget),
    menu: (id, anchor) => openMenu(commands, id, anchor),
    press: (id, event) => {
      const cluster = model.get(id);
      if (cluster?.connectable) {
        dragCell(
          event,
          cluster.name,
          () => commands.execute(CommandIDs.clientCode, { id }) as Promise<string>
        );
      }
    }
  };
}

function openMenu(commands: CommandRegistry, id: string, anchor: HTMLElement): void {
  const menu = new Menu({ commands });
  for (const command of MENU) {
    if (commands.hasCommand(command) && commands.isEnabled(command, { id })) {
      menu.addItem({ command, args: { id } });
    }
  }
  menu.aboutToClose.connect(() => {
    anchor.focus();
    // The chosen command runs after this signal; it needs the menu until then.
    setTimeout(() => menu.dispose());
  });
  const { left, bottom } = anchor.getBoundingClientRect();
  menu.open(left, bottom);
}
