import type { TranslationBundle } from '@jupyterlab/translation';
import type { DashboardPlot } from '../../api/types';

/** Plots under one heading. */
export interface IPlotGroup {
  title: string;
  plots: DashboardPlot[];
}

/** What people open most, in this order; paths as the scheduler serves them. */
export const FAVOURITES: readonly string[] = [
  'individual-task-stream',
  'individual-progress',
  'individual-workers-memory',
  'individual-cluster-memory',
  'individual-cpu',
  'statics/individual-cluster-map.html',
  'individual-workers',
  'individual-graph',
  'individual-profile'
];

/** The page that names the plot's subject differently from what users call it. */
const NICKNAMES: Record<string, string> = {
  'individual-workers': 'Workers Table',
  'individual-cpu': 'CPU',
  'individual-gpu-memory': 'GPU Memory',
  'individual-gpu-utilization': 'GPU Utilization',
  'individual-rmm-memory': 'RMM Memory',
  'individual-nprocessing': 'Tasks Processing'
};

/** A path without slashes around it and without a query: what plots are compared by. */
export function plotKey(path: string): string {
  return path.split('?')[0].replace(/^\/+|\/+$/g, '');
}

/** Whether a path may be put below a ticket: of the shape that Dask's pages have, and no way out. */
export function isPlotPath(path: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._/-]*$/.test(plotKey(path)) && !path.split('/').includes('..');
}

/** What a plot is called, "Task Stream" for `individual-task-stream`. */
export function plotTitle(path: string): string {
  const key = plotKey(path);
  return (
    NICKNAMES[key] ??
    key
      .replace(/^statics\//, '')
      .replace(/^individual-/, '')
      .replace(/\.html$/, '')
      .split('-')
      .map(word => word.replace(/^(cpu|gpu)$/, it => it.toUpperCase()))
      .map(word => word.charAt(0).toUpperCase() + word.slice(1))
      .join(' ')
  );
}

/** Sort plots under headings: favourites first, then workers, tasks, whole pages and the rest. */
export function groupPlots(
  plots: readonly DashboardPlot[],
  trans: TranslationBundle
): IPlotGroup[] {
  const rest = new Map(plots.map(plot => [plotKey(plot.path), plot]));
  const take = (accepts: (key: string) => boolean): DashboardPlot[] => {
    const taken = [...rest].filter(([key]) => accepts(key));
    taken.forEach(([key]) => rest.delete(key));
    return taken
      .map(([key, plot]) => ({ ...plot, title: plotTitle(key) }))
      .sort((a, b) => a.title.localeCompare(b.title));
  };
  const favourites = FAVOURITES.flatMap(favourite => take(key => key === favourite));
  const gpu = take(key => /gpu|rmm/.test(key));
  return [
    { title: trans.__('Favourites'), plots: favourites },
    {
      title: trans.__('Workers'),
      plots: take(key => /worker|cpu|memory|bandwidth|network|occupancy/.test(key))
    },
    {
      title: trans.__('Tasks'),
      plots: take(key =>
        /task|group|progress|graph|processing|compute|aggregate|exception/.test(key)
      )
    },
    { title: trans.__('Scheduler'), plots: take(key => key.startsWith('individual-')) },
    { title: trans.__('GPU'), plots: gpu },
    { title: trans.__('Whole pages'), plots: take(() => true) }
  ].filter(group => group.plots.length > 0);
}
