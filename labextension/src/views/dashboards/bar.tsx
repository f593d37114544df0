import {
  addIcon,
  HTMLSelect,
  ReactWidget,
  refreshIcon,
  UseSignal
} from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import { useEffect, useState } from 'react';
import type { DashboardPlot } from '../../tokens';
import type { IPaneActions } from './body';
import type { PaneModel } from './model';
import { groupPlots, plotKey, plotTitle } from './plots';

interface IOptions {
  model: PaneModel;
  trans: TranslationBundle;
  actions: IPaneActions;
}

/** The pane's toolbar: which plot, another one beside it, load anew, the cluster's card. */
export class PlotBar extends ReactWidget {
  constructor(options: IOptions) {
    super();
    this._options = options;
    this.addClass('jp-Offload-plotBar');
  }

  protected render(): JSX.Element {
    return (
      <UseSignal signal={this._options.model.changed}>
        {() => (
          <Bar {...this._options} isShown={this._options.model.state.kind === 'showing'} />
        )}
      </UseSignal>
    );
  }

  private readonly _options: IOptions;
}

function Bar({ model, trans, actions, isShown }: IOptions & { isShown: boolean }): JSX.Element {
  const plots = usePlots(model, actions, isShown);
  const known = plots.some(plot => plotKey(plot.path) === model.plot)
    ? plots
    : [{ title: plotTitle(model.plot), path: model.plot }, ...plots];
  const name = model.cluster?.name ?? '';
  return (
    <>
      <HTMLSelect
        aria-label={trans.__('Plot')}
        value={model.plot}
        disabled={!isShown}
        onChange={event => {
          model.plot = event.target.value;
        }}
      >
        {groupPlots(known, trans).map(group => (
          <optgroup key={group.title} label={group.title}>
            {group.plots.map(plot => (
              <option key={plot.path} value={plotKey(plot.path)}>
                {plot.title}
              </option>
            ))}
          </optgroup>
        ))}
      </HTMLSelect>
      <IconButton
        icon={addIcon}
        label={trans.__('Open another plot of %1 beside this one', name)}
        onClick={() => actions.openBeside(model.id, model.plot)}
      />
      <IconButton
        icon={refreshIcon}
        label={trans.__('Load this plot anew')}
        disabled={!isShown}
        onClick={() => model.retry()}
      />
      <span className="jp-Offload-plotBarSpace" />
      {name && (
        <button
          type="button"
          className="jp-Button jp-mod-minimal jp-Offload-plotBarCluster"
          title={trans.__('Show this cluster in the panel')}
          onClick={() => actions.showCluster(model.id)}
        >
          {name}
        </button>
      )}
    </>
  );
}

interface IIconButtonProps {
  icon: typeof addIcon;
  label: string;
  disabled?: boolean;
  onClick: () => void;
}

function IconButton({ icon, label, disabled, onClick }: IIconButtonProps): JSX.Element {
  return (
    <button
      type="button"
      className="jp-Button jp-mod-minimal jp-Offload-iconButton"
      title={label}
      aria-label={label}
      disabled={disabled}
      onClick={onClick}
    >
      <icon.react tag={null} />
    </button>
  );
}

/** The plots that the cluster's dashboard has; none while it cannot be asked. */
function usePlots(model: PaneModel, actions: IPaneActions, isShown: boolean): DashboardPlot[] {
  const [plots, setPlots] = useState<DashboardPlot[]>([]);
  useEffect(() => {
    let isCurrent = true;
    if (isShown) {
      actions.plots(model.id).then(
        found => isCurrent && setPlots(found),
        // The plot itself is shown; only the choice of others is missing until the next time.
        () => undefined
      );
    }
    return () => {
      isCurrent = false;
    };
  }, [model, actions, isShown]);
  return plots;
}
