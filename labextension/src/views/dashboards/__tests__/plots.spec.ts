import { describe, expect, it } from 'vitest';
import { trans } from '../../../cells/__tests__/fakes';
import { groupPlots, isPlotPath, plotKey, plotTitle } from '../plots';

const plots = [
  '/individual-workers',
  '/individual-profile-server',
  '/status',
  '/individual-gpu-memory',
  '/individual-bandwidth-types',
  '/individual-group-progress',
  '/individual-progress',
  '/individual-task-stream'
].map(path => ({ title: path, path }));

describe('plots', () => {
  it('are named as users call them', () => {
    expect(plotTitle('/individual-task-stream')).toBe('Task Stream');
    expect(plotTitle('individual-workers')).toBe('Workers Table');
    expect(plotTitle('individual-workers-cpu-timeseries')).toBe('Workers CPU Timeseries');
    expect(plotTitle('/statics/individual-cluster-map.html')).toBe('Cluster Map');
  });

  it('stand under headings, favourites first and in their order, none lost or twice', () => {
    const groups = groupPlots(plots, trans);
    expect(groups.map(it => [it.title, it.plots.map(plot => plot.title)])).toEqual([
      ['Favourites', ['Task Stream', 'Progress', 'Workers Table']],
      ['Workers', ['Bandwidth Types']],
      ['Tasks', ['Group Progress']],
      ['Scheduler', ['Profile Server']],
      ['GPU', ['GPU Memory']],
      ['Whole pages', ['Status']]
    ]);
    const listed = groups.flatMap(it => it.plots.map(plot => plot.path));
    expect(listed.sort()).toEqual(plots.map(plot => plot.path).sort());
  });

  it('are compared without slashes and queries', () => {
    expect(plotKey('/individual-progress/?x=1')).toBe('individual-progress');
  });

  it.each(['../api/contents', 'javascript:alert(1)', 'a/../../b', '', 'a b'])(
    'are not %j',
    path => expect(isPlotPath(path)).toBe(false)
  );

  it.each(['individual-cpu', '/statics/individual-cluster-map.html', 'status'])(
    'may be %j',
    path => expect(isPlotPath(path)).toBe(true)
  );
});
