import { MainAreaWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, Toolbar } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { offloadIcon } from '../../icons';
import type { PaneModel } from './model';
import { PaneBody, type IPaneActions } from './body';
import { PlotBar } from './bar';

/** A main-area pane with one plot of one cluster. */
export class DashboardPane extends MainAreaWidget<DashboardContent> {
  constructor(options: IDashboardPaneOptions) {
    // Not Lab's reactive toolbar: that puts a bar that stretches behind its "…" button.
    super({ content: new DashboardContent(options), toolbar: new Toolbar() });
    const { key, model, trans } = options;
    this.key = key;
    this._model = model;
    this._trans = trans;
    this.id = `jp-Offload-dashboard-${key}`;
    this.addClass('jp-Offload-dashboard');
    this.title.icon = offloadIcon;
    this.title.closable = true;
    this.toolbar.addItem('plot', new PlotBar(options));
    this.toolbar.node.setAttribute('aria-label', trans.__('Dashboard'));
    model.changed.connect(this._setTitle, this);
    this._setTitle();
  }

  /** Names the pane for ever, also after a reload. */
  readonly key: string;

  get model(): PaneModel {
    return this._model;
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._model.dispose();
      super.dispose();
    }
  }

  private _setTitle(): void {
    const { plotTitle, cluster } = this._model;
    const label = cluster ? `${plotTitle} · ${cluster.name}` : plotTitle;
    if (this.title.label !== label) {
      this.title.label = label;
      this.title.caption = cluster
        ? this._trans.__('Dask dashboard of %1: %2', cluster.name, plotTitle)
        : label;
    }
  }

  private readonly _model: PaneModel;
  private readonly _trans: TranslationBundle;
}

export interface IDashboardPaneOptions {
  key: string;
  model: PaneModel;
  trans: TranslationBundle;
  actions: IPaneActions;
}

class DashboardContent extends ReactWidget {
  constructor(options: IDashboardPaneOptions) {
    super();
    this._options = options;
    this.addClass('jp-Offload-dashboardContent');
    this.node.tabIndex = -1;
  }

  protected render(): JSX.Element {
    return <PaneBody {...this._options} />;
  }

  /** A frame that moves in the document loads anew, and its old ticket may have lapsed. */
  protected override onAfterAttach(message: Message): void {
    this._options.model.reload();
    super.onAfterAttach(message);
  }

  private readonly _options: IDashboardPaneOptions;
}
