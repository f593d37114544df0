import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { Signal } from '@lumino/signaling';
import { offloadIcon } from '../../icons';
import { TranslationContext } from '../shared/context';
import { Panel, type IPanelProps } from './Panel';

export const PANEL_ID = 'jupyter-offload-panel';

/** The left panel as a Lab widget; says when it is shown, since usage numbers are fetched only then. */
export class OffloadPanel extends ReactWidget {
  constructor(
    private readonly _props: IPanelProps,
    private readonly _trans: TranslationBundle
  ) {
    super();
    this.id = PANEL_ID;
    this.title.icon = offloadIcon;
    this.title.caption = _trans.__('Offload: clusters and sites');
    this.addClass('jp-Offload-panel');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', _trans.__('Offload'));
  }

  /** Emitted with whether the panel can be seen. */
  readonly shown = new Signal<this, boolean>(this);

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this.shown.emit(true);
  }

  protected override onAfterHide(msg: Message): void {
    super.onAfterHide(msg);
    this.shown.emit(false);
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    this.shown.emit(this.isVisible);
  }

  protected override render(): JSX.Element {
    return (
      <TranslationContext.Provider value={this._trans}>
        <Panel {...this._props} />
      </TranslationContext.Provider>
    );
  }
}
