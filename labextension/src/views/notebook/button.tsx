import type { TranslationBundle } from '@jupyterlab/translation';
import { Button, caretDownEmptyIcon, ReactWidget } from '@jupyterlab/ui-components';
import type { Attachment } from '../../cells/attachment';
import type { IClusterModel } from '../../tokens';
import { offloadIcon } from '../../icons';
import { describe } from './describe';

/** The button left of the kernel's name: which cluster this notebook is attached to, and the menu to change that. */
export class AttachmentButton extends ReactWidget {
  constructor(options: IAttachmentButtonOptions) {
    super();
    this._options = options;
    this.addClass('jp-Offload-attachment');
    options.clusters.changed.connect(this._refresh, this);
    void options.attachment.then(attachment => {
      if (attachment && !this.isDisposed) {
        this._attachment = attachment;
        attachment.changed.connect(this._refresh, this);
        this.update();
      }
    });
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._options.clusters.changed.disconnect(this._refresh, this);
      this._attachment?.changed.disconnect(this._refresh, this);
      super.dispose();
    }
  }

  protected render(): JSX.Element | null {
    if (!this._attachment) {
      return null;
    }
    const { clusters, trans } = this._options;
    const { state } = this._attachment;
    const cluster = state.kind === 'detached' ? undefined : clusters.get(state.id);
    const { label, tooltip, tone } = describe(state, cluster, trans);
    return (
      <>
        <Button
          minimal
          className="jp-ToolbarButtonComponent jp-Offload-attachmentButton"
          data-tone={tone}
          data-state={state.kind}
          aria-haspopup="menu"
          aria-label={trans.__('Cluster of this notebook: %1', label)}
          title={tooltip}
          onClick={this._open}
          onKeyDown={this._openByKey}
        >
          <offloadIcon.react tag={null} />
          <span className="jp-ToolbarButtonComponent-label">{label}</span>
          <caretDownEmptyIcon.react tag={null} />
        </Button>
        <span className="jp-Offload-onlySpoken" role="status">
          {state.kind === 'detached' ? '' : label}
        </span>
      </>
    );
  }

  private _refresh(): void {
    this.update();
  }

  private readonly _open = (event: React.SyntheticEvent): void => {
    if (this._attachment) {
      this._options.openMenu(event.currentTarget as HTMLElement, this._attachment);
    }
  };

  private readonly _openByKey = (event: React.KeyboardEvent): void => {
    if (['Enter', ' ', 'ArrowDown'].includes(event.key)) {
      event.preventDefault();
      this._open(event);
    }
  };

  private _attachment: Attachment | null = null;
  private readonly _options: IAttachmentButtonOptions;
}

export interface IAttachmentButtonOptions {
  /** Null when the notebook was closed before it was read. */
  attachment: Promise<Attachment | null>;
  clusters: IClusterModel;
  trans: TranslationBundle;
  /** Open the menu below this element. */
  openMenu: (anchor: HTMLElement, attachment: Attachment) => void;
}
