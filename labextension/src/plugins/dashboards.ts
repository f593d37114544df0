import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { Dialog, ICommandPalette, showDialog, WidgetTracker } from '@jupyterlab/apputils';
import { URLExt } from '@jupyterlab/coreutils';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { UUID } from '@lumino/coreutils';
import { offloadIcon } from '../icons';
import { CommandIDs, IClusterModel, SETTINGS_ID, TRANSLATION_DOMAIN } from '../tokens';
import { PlotChooser } from '../views/dashboards/chooser';
import { PaneModel } from '../views/dashboards/model';
import { DashboardPane } from '../views/dashboards/pane';
import { FAVOURITES, groupPlots, isPlotPath, plotKey } from '../views/dashboards/plots';
import { DashboardAccesses } from '../views/dashboards/ticket';
import { meantCluster } from './meant';

const NAMESPACE = 'jupyter-offload-dashboards';
const DEFAULT_LAYOUT = FAVOURITES.slice(0, 3);

/** Where a pane goes: as `DocumentRegistry.IOpenOptions`, of which these two matter here. */
interface IPlace {
  mode?: 'split-right' | 'split-bottom' | 'tab-after';
  ref?: string;
}

/** Dask's dashboards as panes of Lab, several clusters side by side, there again after a reload. */
export const dashboardsPlugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-offload:dashboards',
  description: 'Dask dashboards as panes.',
  autoStart: true,
  requires: [IClusterModel],
  optional: [ITranslator, ICommandPalette, ILayoutRestorer, ISettingRegistry],
  activate: (
    app: JupyterFrontEnd,
    clusters: IClusterModel,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null,
    registry: ISettingRegistry | null
  ): void => {
    const trans = (translator ?? nullTranslator).load(TRANSLATION_DOMAIN);
    const panes = new Panes(app, clusters, trans);
    // Failed requests say that the server was away, and the frames' connections with it.
    app.serviceManager.connectionFailure.connect(() => panes.accesses.suspectAll());
    addCommands(app, clusters, panes, registry, trans);
    const category = trans.__('Offload');
    palette?.addItem({ command: CommandIDs.openDashboard, category });
    palette?.addItem({ command: CommandIDs.defaultLayout, category });
    void restorer?.restore(panes.tracker, {
      command: CommandIDs.openDashboard,
      // Never the ticket: it lapses, and it opens the dashboard to whoever has it.
      args: ({ model, key }) => ({ id: model.id, plot: model.plot, pane: key }),
      name: pane => pane.key
    });
  }
};

/** The open panes. */
class Panes {
  constructor(
    private readonly _app: JupyterFrontEnd,
    private readonly _clusters: IClusterModel,
    private readonly _trans: TranslationBundle
  ) {
    this.accesses = new DashboardAccesses(id => _clusters.ticket(id));
  }

  readonly tracker = new WidgetTracker<DashboardPane>({ namespace: NAMESPACE });
  readonly accesses: DashboardAccesses;

  /** Show a plot: the pane that has it, or a new one. */
  open(
    id: string,
    plot: string,
    place = this._placeFor(id, plot),
    key?: string
  ): DashboardPane {
    const { shell } = this._app;
    const pane = this._find(id, plot) ?? this._make(id, plot, key ?? UUID.uuid4());
    if (!pane.isAttached) {
      shell.add(pane, 'main', { ...place, type: 'Dask Dashboard' });
    }
    shell.activateById(pane.id);
    return pane;
  }

  /** Ask which plots to open; the first goes to the given place if there is one. */
  async ask(id: string, place?: IPlace): Promise<DashboardPane | null> {
    const trans = this._trans;
    const cluster = this._clusters.get(id);
    // A cluster that still starts cannot be asked; what every Dask has can be opened and waits.
    const plots = await this._clusters
      .plots(id)
      .catch(() => FAVOURITES.map(path => ({ title: path, path })));
    const { button, value } = await showDialog({
      title: trans.__('Dashboards of %1', cluster?.name ?? id),
      body: new PlotChooser(groupPlots(plots, trans), trans),
      focusNodeSelector: '[type="search"]',
      buttons: [
        Dialog.cancelButton(),
        Dialog.createButton({
          label: trans.__('Default Layout'),
          accept: false,
          className: 'jp-mod-reject',
          actions: [LAYOUT]
        }),
        Dialog.okButton({ label: trans.__('Open') })
      ]
    });
    if (button.actions.includes(LAYOUT)) {
      await this._app.commands.execute(CommandIDs.defaultLayout, { id });
      return null;
    }
    let last: DashboardPane | null = null;
    for (const plot of button.accept ? (value ?? []) : []) {
      last = this.open(id, plot, last ? undefined : place);
    }
    return last;
  }

  /**
   * Where a new pane goes: beside the same plot of another cluster, to compare them; else below what is shown of its own
   * cluster; else beside what is current, which mostly is the notebook.
   */
  private _placeFor(id: string, plot: string): IPlace {
    const same = this.tracker.find(
      it => it.isVisible && it.model.id !== id && it.model.plot === plotKey(plot)
    );
    if (same) {
      return { mode: 'split-right', ref: same.id };
    }
    const column = this.tracker.filter(it => it.isVisible && it.model.id === id);
    const lowest = column.at(-1);
    if (lowest) {
      return { mode: column.length < ROWS ? 'split-bottom' : 'tab-after', ref: lowest.id };
    }
    return { mode: 'split-right' };
  }

  private _find(id: string, plot: string): DashboardPane | undefined {
    return this.tracker.find(it => it.model.id === id && it.model.plot === plotKey(plot));
  }

  /** Start a cluster again and show the same plot of the new one in place of the old. */
  private async _startAgain(cluster: string, pane: DashboardPane): Promise<void> {
    const { commands } = this._app;
    const id = (await commands.execute(CommandIDs.startAgain, { id: cluster })) as
      string | null;
    if (id && !pane.isDisposed) {
      this.open(id, pane.model.plot, { mode: 'tab-after', ref: pane.id });
      pane.dispose();
    }
  }

  private _make(id: string, plot: string, key: string): DashboardPane {
    const { commands, serviceManager } = this._app;
    const { baseUrl } = serviceManager.serverSettings;
    const model = new PaneModel({
      id,
      plot,
      clusters: this._clusters,
      accesses: this.accesses,
      urlOf: (ticketPath, path) => URLExt.join(baseUrl, ticketPath, path)
    });
    const pane: DashboardPane = new DashboardPane({
      key,
      model,
      trans: this._trans,
      actions: {
        close: () => pane.dispose(),
        showCluster: cluster => {
          this._clusters.selected = cluster;
          void commands.execute(CommandIDs.openPanel);
        },
        showLogs: cluster => void commands.execute(CommandIDs.openLogs, { id: cluster }),
        startAgain: cluster => void this._startAgain(cluster, pane),
        openBeside: cluster => void this.ask(cluster, { mode: 'split-right', ref: pane.id }),
        plots: cluster => this._clusters.plots(cluster)
      }
    });
    void this.tracker.add(pane);
    model.plotChanged.connect(() => void this.tracker.save(pane));
    return pane;
  }
}

/** Panes below each other in a column before they become tabs. */
const ROWS = 3;

/** Action of the dialog's button that opens the default layout instead of what is checked. */
const LAYOUT = 'default-layout';

function addCommands(
  app: JupyterFrontEnd,
  clusters: IClusterModel,
  panes: Panes,
  registry: ISettingRegistry | null,
  trans: TranslationBundle
): void {
  const id = { type: 'string' as const, description: 'Id or name of the cluster.' };

  app.commands.addCommand(CommandIDs.openDashboard, {
    label: trans.__('Open Dask Dashboards…'),
    caption: trans.__('Open plots of a cluster as panes'),
    icon: args => (args.isPalette ? undefined : offloadIcon),
    describedBy: {
      args: {
        type: 'object',
        properties: {
          id,
          plot: {
            type: 'string',
            description: 'Path of a plot; asked for when it is missing.'
          },
          pane: { type: 'string', description: 'Key of the pane that is restored.' }
        }
      }
    },
    isEnabled: args => meantCluster(clusters, args) !== undefined,
    execute: async args => {
      // A restored pane comes before the list of clusters; it has the cluster's id.
      const meant = meantCluster(clusters, args)?.id ?? (args.id as string | undefined);
      if (!meant) {
        return null;
      }
      const plot = args.plot as string | undefined;
      if (plot !== undefined && !isPlotPath(plot)) {
        throw new Error(`plot ${JSON.stringify(plot)} is no path of a dashboard page`);
      }
      return plot
        ? panes.open(meant, plot, undefined, args.pane as string | undefined)
        : panes.ask(meant);
    }
  });

  app.commands.addCommand(CommandIDs.defaultLayout, {
    label: trans.__('Open Default Dashboards'),
    caption: trans.__('Open the plots that the settings name, side by side'),
    icon: args => (args.isPalette ? undefined : offloadIcon),
    describedBy: { args: { type: 'object', properties: { id } } },
    isEnabled: args => meantCluster(clusters, args) !== undefined,
    execute: async args => {
      const cluster = meantCluster(clusters, args);
      if (cluster) {
        for (const plot of await layout(registry)) {
          panes.open(cluster.id, plot);
        }
      }
    }
  });
}

async function layout(registry: ISettingRegistry | null): Promise<readonly string[]> {
  const settings = await registry?.load(SETTINGS_ID).catch(() => null);
  const chosen = settings?.get('defaultLayout').composite as string[] | undefined;
  const paths = (chosen ?? []).filter(isPlotPath);
  return paths.length > 0 ? paths : DEFAULT_LAYOUT;
}
