import type { Dialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import { useId, useState } from 'react';
import { type IPlotGroup, plotKey } from './plots';

/** The body of the dialog that asks which plots to open: check boxes under headings, with a filter. */
export class PlotChooser extends ReactWidget implements Dialog.IBodyWidget<string[]> {
  constructor(groups: IPlotGroup[], trans: TranslationBundle) {
    super();
    this._groups = groups;
    this._trans = trans;
    this.addClass('jp-Offload-plotChooser');
  }

  /** Paths of the chosen plots in the order they are listed; with none checked, the only one that the filter leaves. */
  getValue(): string[] {
    const plots = this._groups.flatMap(group => group.plots);
    const chosen = plots.filter(plot => this._chosen.has(plotKey(plot.path)));
    const left = plots.filter(plot => matches(plot.title, this._filter));
    return (chosen.length === 0 && left.length === 1 ? left : chosen).map(plot =>
      plotKey(plot.path)
    );
  }

  protected render(): JSX.Element {
    return (
      <Choices
        groups={this._groups}
        trans={this._trans}
        onFilter={filter => {
          this._filter = filter;
        }}
        onToggle={(path, isChosen) =>
          isChosen ? this._chosen.add(path) : this._chosen.delete(path)
        }
      />
    );
  }

  private readonly _groups: IPlotGroup[];
  private readonly _trans: TranslationBundle;
  private _filter = '';
  private readonly _chosen = new Set<string>();
}

/** Whether all words of a filter are in a title. */
function matches(title: string, filter: string): boolean {
  return filter
    .toLowerCase()
    .split(/\s+/)
    .every(word => title.toLowerCase().includes(word));
}

interface IProps {
  groups: IPlotGroup[];
  trans: TranslationBundle;
  onFilter: (filter: string) => void;
  onToggle: (path: string, isChosen: boolean) => void;
}

function Choices({ groups, trans, onFilter, onToggle }: IProps): JSX.Element {
  const [filter, setFilter] = useState('');
  const prefix = useId();
  const found = groups.some(group => group.plots.some(plot => matches(plot.title, filter)));
  return (
    <>
      <input
        type="search"
        className="jp-Offload-plotFilter jp-mod-styled"
        placeholder={trans.__('Filter plots')}
        aria-label={trans.__('Filter plots')}
        value={filter}
        onChange={event => {
          setFilter(event.target.value);
          onFilter(event.target.value);
        }}
      />
      {/* Hidden, not removed: what is checked stays checked while the filter changes. */}
      {!found && <p role="status">{trans.__('No plot is called so.')}</p>}
      <div className="jp-Offload-plotGroups">
        {groups.map(group => (
          <fieldset
            key={group.title}
            hidden={!group.plots.some(plot => matches(plot.title, filter))}
          >
            <legend>{group.title}</legend>
            {group.plots.map(plot => {
              const id = `${prefix}-${plotKey(plot.path)}`;
              return (
                <div key={id} hidden={!matches(plot.title, filter)}>
                  <input
                    id={id}
                    type="checkbox"
                    onChange={event => onToggle(plotKey(plot.path), event.target.checked)}
                  />
                  <label htmlFor={id}>{plot.title}</label>
                </div>
              );
            })}
          </fieldset>
        ))}
      </div>
    </>
  );
}
