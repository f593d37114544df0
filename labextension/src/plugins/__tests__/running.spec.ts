import type { IRunningSessions } from '@jupyterlab/running';
import { CommandRegistry } from '@lumino/commands';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { cluster, Clusters, trans } from '../../cells/__tests__/fakes';
import { CommandIDs } from '../../tokens';
import { meantCluster } from '../meant';
import { runningPlugin } from '../running';
import { statusOf } from '../statusbar';

class Model extends Clusters {
  selected: string | null = null;
  get = (id: string) => this.clusters.find(it => it.id === id);
  stop = vi.fn(() => Promise.resolve());
  refresh = vi.fn(() => Promise.resolve());
}

let model: Model;
let manager: IRunningSessions.IManager;
let executed: [string, unknown][];

beforeEach(async () => {
  model = new Model([
    cluster('zmumu'),
    cluster('hpo', 'starting'),
    cluster('old', 'failed'),
    cluster('going', 'stopping')
  ]);
  executed = [];
  const commands = new CommandRegistry();
  for (const id of [CommandIDs.openPanel, CommandIDs.stop]) {
    commands.addCommand(id, {
      describedBy: { args: { type: 'object', properties: {} } },
      execute: args => executed.push([id, { ...args }])
    });
  }
  const managers = { add: (it: IRunningSessions.IManager) => (manager = it) };
  await runningPlugin.activate({ commands } as never, model, managers, null);
});

describe('clusters among what is running', () => {
  it('are those that run or start, with their workers or phase', () => {
    const items = manager.running({ mode: 'list' });
    expect(items.map(it => [it.label(), it.detail?.()])).toEqual([
      ['zmumu', '2 workers'],
      ['hpo', 'starting']
    ]);
    expect(items[0].labelTitle?.()).toContain('zmumu is running.');
  });

  it('open their card and are shut down by the command that asks', () => {
    const [item] = manager.running({ mode: 'list' });
    item.open?.();
    item.shutdown?.();
    expect(model.selected).toBe('zmumu');
    expect(executed).toEqual([
      [CommandIDs.openPanel, {}],
      [CommandIDs.stop, { id: 'zmumu' }]
    ]);
  });

  it('are all stopped by "Shut Down All", and no finished one', () => {
    manager.shutdownAll();
    expect(model.stop.mock.calls).toEqual([['zmumu'], ['hpo']]);
  });

  it('are drawn anew only when what is shown is another', () => {
    let drawn = 0;
    manager.runningChanged.connect(() => (drawn += 1));
    model.changed.emit();
    drawn = 0;
    model.show(cluster('zmumu', 'running', { revision: 7 }), cluster('hpo', 'starting'));
    expect(drawn).toBe(0);
    model.show(cluster('zmumu'), cluster('hpo'));
    expect(drawn).toBe(1);
  });
});

describe('the status bar', () => {
  it('counts clusters and workers and says what starts', () => {
    expect(statusOf(model, trans)?.text).toBe('2 clusters · 2 workers · 1 starting');
    expect(statusOf({ clusters: [cluster('zmumu')] }, trans)?.text).toBe(
      '1 cluster · 2 workers'
    );
  });

  it('is silent where nothing runs', () => {
    expect(statusOf({ clusters: [cluster('old', 'failed')] }, trans)).toBeNull();
  });
});

describe('the cluster that a command means', () => {
  it('is the one named, else the selected one, else the only one alive', () => {
    expect(meantCluster(model, { id: 'hpo' })?.id).toBe('hpo');
    expect(meantCluster(model, {})).toBeUndefined();
    model.clusters = model.clusters.filter(it => it.id !== 'hpo');
    expect(meantCluster(model, {})?.id).toBe('zmumu');
    model.selected = 'old';
    expect(meantCluster(model, {})?.id).toBe('old');
  });
});
