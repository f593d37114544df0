import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cluster, Clusters } from '../../../cells/__tests__/fakes';
import { PaneModel } from '../model';
import { DashboardAccesses } from '../ticket';

const settled = () => new Promise(resolve => setTimeout(resolve, 0));

let clusters: Clusters;
let issued: number;
let fault: Error | null;
let accesses: DashboardAccesses;
let pane: PaneModel;

function open(id = 'zmumu', plot = '/individual-task-stream'): PaneModel {
  pane = new PaneModel({
    id,
    plot,
    clusters: clusters as never,
    accesses,
    urlOf: (path, key) => `/base/${path}${key}`
  });
  return pane;
}

beforeEach(() => {
  issued = 0;
  fault = null;
  clusters = new Clusters([cluster('zmumu')]);
  accesses = new DashboardAccesses(async () => {
    issued += 1;
    if (fault) {
      throw fault;
    }
    return {
      path: `view/t${issued}/`,
      expires_at: new Date(Date.now() + 300_000).toISOString()
    };
  });
});

afterEach(() => pane.dispose());

const src = () => (pane.state.kind === 'showing' ? pane.state.src : pane.state.kind);

describe('a dashboard pane', () => {
  it('opens the plot below a ticket', async () => {
    open();
    expect(pane.state.kind).toBe('opening');
    await settled();
    expect(src()).toBe('/base/view/t1/individual-task-stream');
  });

  it('looks for the cluster until the list is there, and asks for nothing meanwhile', async () => {
    clusters.isReady = false;
    clusters.clusters = [];
    open();
    expect(pane.state.kind).toBe('looking');
    clusters.isReady = true;
    clusters.show();
    expect(pane.state.kind).toBe('gone');
    await settled();
    expect(issued).toBe(0);
  });

  it('waits for a starting cluster, then shows it', async () => {
    clusters.clusters = [cluster('zmumu', 'starting')];
    open();
    expect(pane.state.kind).toBe('waiting');
    clusters.show(cluster('zmumu'));
    await settled();
    expect(pane.state.kind).toBe('showing');
  });

  it('keeps the frame while the cluster changes or cannot be seen for a moment', async () => {
    open();
    await settled();
    const before = src();
    clusters.show(cluster('zmumu', 'running', { revision: 9 }));
    clusters.show(cluster('zmumu', 'running', { dashboard: false, connectable: false }));
    expect(src()).toBe(before);
    expect(issued).toBe(1);
  });

  it.each(['stopped', 'failed'] as const)('says that it %s and asks no more', async phase => {
    open();
    await settled();
    clusters.show(cluster('zmumu', phase, { dashboard: false }));
    expect(pane.state.kind).toBe('ended');
    pane.retry();
    clusters.show(cluster('zmumu', phase, { dashboard: false, revision: 3 }));
    await settled();
    expect(issued).toBe(1);
  });

  it('says why it cannot be reached, and shows the plot after a retry', async () => {
    fault = new Error('The keeper does not answer.');
    open();
    await settled();
    expect(pane.state).toMatchObject({
      kind: 'unreachable',
      problem: { message: 'The keeper does not answer.' }
    });
    fault = null;
    pane.retry();
    await settled();
    expect(src()).toBe('/base/view/t2/individual-task-stream');
  });

  it('loads another plot by the same ticket and tells who saves the layout', async () => {
    open();
    await settled();
    let saved = 0;
    pane.plotChanged.connect(() => (saved += 1));
    pane.plot = '/individual-progress';
    expect(src()).toBe('/base/view/t1/individual-progress');
    expect(pane.plotTitle).toBe('Progress');
    clusters.show(cluster('zmumu', 'running', { revision: 2 }));
    expect([saved, issued]).toEqual([1, 1]);
  });

  it('stands beside another one of the same cluster without stopping its ticket', async () => {
    const first = open();
    await settled();
    clusters.show(cluster('zmumu', 'running', { dashboard: false }));
    const second = open('zmumu', 'individual-progress');
    expect(second.state.kind).toBe('waiting');
    expect(first.state.kind).toBe('showing');
    clusters.show(cluster('zmumu'));
    await settled();
    expect([first.state.kind, second.state.kind]).toEqual(['showing', 'showing']);
    first.dispose();
    expect(second.state.kind).toBe('showing');
  });

  it('knows its cluster by name after it was removed from the list', async () => {
    open();
    await settled();
    clusters.show();
    expect(pane.state.kind).toBe('gone');
    expect(pane.cluster?.name).toBe('zmumu');
  });
});
