import { Clipboard } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { listIcon, ReactWidget } from '@jupyterlab/ui-components';
import type { IClusterModel } from '../../tokens';
import { TranslationContext } from '../shared/context';
import { LogView } from './LogView';

/** The logs of one cluster, in the main area. */
export class LogWidget extends ReactWidget {
  constructor(
    private readonly _model: IClusterModel,
    readonly clusterId: string,
    private readonly _source: string | null,
    private readonly _trans: TranslationBundle
  ) {
    super();
    this.addClass('jp-Offload-logs');
    const name = _model.get(clusterId)?.name ?? clusterId;
    this.title.label = _trans.__('Logs · %1', name);
    this.title.caption = _trans.__('Logs of the cluster %1', name);
    this.title.icon = listIcon;
  }

  protected override render(): JSX.Element {
    return (
      <TranslationContext.Provider value={this._trans}>
        <LogView
          model={this._model}
          id={this.clusterId}
          first={this._source}
          standby={this._standby}
          copy={text => Clipboard.copyToSystem(text)}
        />
      </TranslationContext.Provider>
    );
  }

  /** Nothing is fetched while nobody can see it. */
  private readonly _standby = () => (this.isVisible ? ('when-hidden' as const) : true);
}
