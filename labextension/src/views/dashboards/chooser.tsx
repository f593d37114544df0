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

  /** Paths of the chosen plots, in the order they are listed. */
  getValue(): string[] {
    return this._groups
      .flatMap(group => group.plots.map(plot => plotKey(plot.path)))
      .filter(path => this._chosen.has(path));
  }

  protected render(): JSX.Element {
    return (
      <Choices
        groups={this._groups}
        trans={this._trans}
        onToggle={(path, isChosen) =>
          isChosen ? this._chosen.add(path) : this._chosen.delete(path)
        }
      />
    );
  }

  private readonly _groups: IPlotGroup[];
  private readonly _trans: TranslationBundle;
  private readonly _chosen = new Set<string>();
}

interface IProps {
  groups: IPlotGroup[];
  trans: TranslationBundle;
  onToggle: (path: string, isChosen: boolean) => void;
}

function Choices({ groups, trans, onToggle }: IProps): JSX.Element {
  const [filter, setFilter] = useState('');
  const prefix = useId();
  const words = filter.toLowerCase().split(/\s+/);
  // Hidden, not removed: what is checked stays checked while the filter changes.
  const matches = (title: string) => words.every(word => title.toLowerCase().includes(word));
  const found = groups.some(group => group.plots.some(plot => matches(plot.title)));
  return (
    <>
      <input
        type="search"
        className="jp-Offload-plotFilter jp-mod-styled"
        placeholder={trans.__('Filter plots')}
        aria-label={trans.__('Filter plots')}
        value={filter}
        onChange={event => setFilter(event.target.value)}
      />
      {!found && <p role="status">{trans.__('No plot is called so.')}</p>}
      <div className="jp-Offload-plotGroups">
        {groups.map(group => (
          <fieldset key={group.title} hidden={!group.plots.some(plot => matches(plot.title))}>
            <legend>{group.title}</legend>
            {group.plots.map(plot => {
              const id = `${prefix}-${plotKey(plot.path)}`;
              return (
                <div key={id} hidden={!matches(plot.title)}>
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
