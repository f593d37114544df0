import { act, cleanup, fireEvent, render, screen, within } from '@testing-library/react';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { OffloadProblem } from '../../api/problem';
import type { Cluster, Site } from '../../api/types';
import { cluster, Deferred, FakeClient, makeModel, site } from '../../models/__tests__/fakes';
import type { ICardActions } from '../cards/actions';
import { Panel } from '../panel/Panel';

afterEach(cleanup);

function actions() {
  return {
    select: vi.fn(),
    insertClient: vi.fn(),
    scale: vi.fn(),
    dashboards: vi.fn(),
    logs: vi.fn(),
    extend: vi.fn(),
    stop: vi.fn(),
    startAgain: vi.fn(),
    forget: vi.fn(),
    menu: vi.fn(),
    press: vi.fn()
  } satisfies ICardActions;
}

async function show(...clusters: Cluster[]) {
  const client = new FakeClient();
  client.list = { revision: 1, clusters };
  client.sites = [site('local')];
  const model = makeModel(client);
  await model.refresh();
  await model.refreshSites();
  const made = { client, model, actions: actions(), onNew: vi.fn(), onRefresh: vi.fn() };
  const entries = [
    {
      at: '2026-11-21T10:00:00Z',
      level: 'info' as const,
      code: 'accepted',
      message: 'Accepted.',
      worker: null
    },
    {
      at: '2026-11-21T10:00:01Z',
      level: 'info' as const,
      code: 'waiting-for-workers',
      message: 'Waiting for 2 workers.',
      worker: null
    }
  ];
  await act(async () => {
    render(
      <Panel
        model={model}
        actions={made.actions}
        readTimeline={() => Promise.resolve(entries)}
        onNew={made.onNew}
        onRefresh={made.onRefresh}
      />
    );
  });
  return made;
}

const card = (name: string) =>
  screen.getByRole('button', { name, pressed: undefined }).closest('li') as HTMLElement;
const text = (name: string) => card(name).textContent ?? '';

describe('a card', () => {
  it('answers in order: which, phase, where, how much arrived, how busy, when it ends', async () => {
    await show(
      cluster('zmumu', 'running', {
        workers: { requested: 8, starting: 2, connected: 6 },
        reason: {
          code: 'some-workers',
          message: '2 workers have not come yet.',
          hint: 'Wait.'
        },
        usage: {
          ...cluster('x').usage,
          cores: 8,
          busy_fraction: 0.84,
          memory_bytes: 128 * 2 ** 30,
          memory_used_bytes: 31 * 2 ** 30
        },
        end: {
          at: new Date(Date.now() + 3 * 3_600_000 + 5000).toISOString(),
          because: 'lifetime'
        },
        ends_with_server: true
      })
    );
    const parts = [
      'zmumu',
      'running',
      'This machine · 8 × 1 core, 2 GiB',
      '6 of 8 workers connected · 2 starting',
      '2 workers have not come yet. Wait.',
      'CPU 84 % busy · memory 31 of 128 GiB',
      'ends in 3 h (lifetime)',
      'ends with this server'
    ];
    const places = parts.map(it => text('zmumu').indexOf(it));
    expect(places).not.toContain(-1);
    expect([...places].sort((a, b) => a - b)).toEqual(places);
  });

  it('has a meter that says its value in words', async () => {
    await show(
      cluster('zmumu', 'running', { workers: { requested: 8, starting: 2, connected: 6 } })
    );
    const meter = screen.getByRole('progressbar', { name: 'Workers of zmumu' });
    expect(meter.getAttribute('aria-valuetext')).toBe('6 of 8 workers connected · 2 starting');
    expect(meter.getAttribute('aria-valuenow')).toBe('6');
    expect(meter.getAttribute('aria-valuemax')).toBe('8');
  });

  it('names its buttons after what they do and whose they are', async () => {
    const { actions } = await show(cluster('zmumu'));
    const names = [
      'Insert client cell',
      'Scale',
      'Dashboards',
      'Logs',
      'Shut down',
      'More actions'
    ];
    for (const name of names) {
      fireEvent.click(screen.getByRole('button', { name: `${name}: zmumu` }));
    }
    for (const spy of [
      actions.insertClient,
      actions.scale,
      actions.dashboards,
      actions.logs,
      actions.stop
    ]) {
      expect(spy).toHaveBeenCalledWith('zmumu');
    }
    expect(actions.menu.mock.calls[0][0]).toBe('zmumu');
  });

  it('shows the timeline of a starting cluster by itself, with what is still ahead', async () => {
    await show(
      cluster('hpo', 'starting', {
        reason: { code: 'waiting-for-workers', message: 'Waiting for 2 workers.', hint: null }
      })
    );
    const steps = within(
      screen.getByRole('list', { name: 'What happened to hpo' })
    ).getAllByRole('listitem');
    expect(steps.map(it => it.textContent)).toEqual([
      expect.stringContaining('✓Accepted.'),
      expect.stringContaining('…Waiting for 2 workers.'),
      '○workers connected, round trip proven'
    ]);
    expect(steps[1].getAttribute('aria-current')).toBe('step');
    expect(screen.getByRole('button', { name: 'Cancel: hpo' })).toBeTruthy();
    expect(screen.queryByRole('button', { name: 'Insert client cell: hpo' })).toBeNull();
  });

  it('folds the timeline of a running cluster away', async () => {
    await show(cluster('zmumu'));
    expect(screen.queryByRole('list', { name: 'What happened to zmumu' })).toBeNull();
    expect(screen.getByText('What happened')).toBeTruthy();
  });

  it('leads with sentence and remedy when it failed, and says that nothing is left', async () => {
    const { actions } = await show(
      cluster('skim', 'failed', {
        reason: {
          code: 'scheduler-died',
          message: 'The scheduler died.',
          hint: 'Start it again.'
        }
      })
    );
    const places = [
      'The scheduler died.',
      'Start it again. Nothing of it is left running.',
      'This machine'
    ].map(it => text('skim').indexOf(it));
    expect(places).not.toContain(-1);
    expect([...places].sort((a, b) => a - b)).toEqual(places);
    fireEvent.click(screen.getByRole('button', { name: 'Start again…: skim' }));
    fireEvent.click(screen.getByRole('button', { name: 'Forget: skim' }));
    expect(actions.startAgain).toHaveBeenCalledWith('skim');
    expect(actions.forget).toHaveBeenCalledWith('skim');
  });

  it.each(['failed', 'running', 'starting'] as const)(
    'shows the first line of a long reason and folds the rest away (%s)',
    async phase => {
      const tail = Array.from({ length: 30 }, (_, i) => `line ${i} of the log`).join('\n');
      const message = `Worker w0 ended. Its log ends with:\n${tail}`;
      await show(
        cluster('skim', phase, { reason: { code: 'workers-failing', message, hint: 'Look.' } })
      );
      const more = within(card('skim')).getByText('More').closest('details')!;
      expect(more.open).toBe(false);
      expect(more.querySelector('pre')?.textContent).toBe(tail);
      more.remove();
      expect(text('skim')).toContain('Worker w0 ended. Its log ends with:');
      expect(text('skim')).not.toContain('of the log');
    }
  );

  it('does not claim that nothing is left while workers are', async () => {
    await show(
      cluster('skim', 'failed', { workers: { requested: 0, starting: 0, connected: 2 } })
    );
    expect(text('skim')).toContain('2 workers are still being cleared away.');
    expect(text('skim')).not.toContain('Nothing of it is left');
  });

  it('offers to put off an end that is near', async () => {
    const end = (minutes: number) => ({
      at: new Date(Date.now() + minutes * 60_000).toISOString(),
      because: 'idle' as const
    });
    const { actions } = await show(
      cluster('near', 'running', { end: end(10) }),
      cluster('far', 'running', { end: end(50) })
    );
    fireEvent.click(screen.getByRole('button', { name: 'Extend…: near' }));
    expect(actions.extend).toHaveBeenCalledWith('near');
    expect(screen.queryByRole('button', { name: 'Extend…: far' })).toBeNull();
  });

  it('says which end is set while it computes, and that none is', async () => {
    const { profile, spec } = cluster('x');
    await show(
      cluster('busy', 'running', { profile: { ...profile, idle_timeout_s: 3600 } }),
      cluster('own', 'running', { spec: { ...spec, idle_timeout_s: 1200 } }),
      cluster('never', 'running', {
        spec: { ...spec, idle_timeout_s: 0 },
        profile: { ...profile, idle_timeout_s: 3600 }
      })
    );
    expect(text('busy')).toContain('ends when idle for 1 h');
    expect(text('own')).toContain('ends when idle for 20 min');
    expect(text('never')).toContain('no end set');
  });

  it('is selected by a click, and says so', async () => {
    const { model, actions } = await show(cluster('a'), cluster('b'));
    fireEvent.click(card('b'));
    expect(actions.select).toHaveBeenCalledWith('b');
    act(() => {
      model.selected = 'b';
    });
    expect(screen.getByRole('button', { name: 'b' }).getAttribute('aria-pressed')).toBe('true');
    expect(screen.getByRole('button', { name: 'a' }).getAttribute('aria-pressed')).toBe(
      'false'
    );
  });
});

describe('the panel', () => {
  it('teaches when there is no cluster yet', async () => {
    const { onNew } = await show();
    fireEvent.click(screen.getByRole('button', { name: 'New cluster…' }));
    expect(onNew).toHaveBeenCalledTimes(1);
  });

  it('says that there is no site only once the server has said so', async () => {
    const { client, model } = await show();
    expect(screen.getByRole('list', { name: 'Sites' })).toBeTruthy();
    cleanup();
    const sites = new Deferred<Site[]>();
    client.listSites = () => sites.promise;
    const early = makeModel(client);
    render(
      <Panel
        model={early}
        actions={actions()}
        readTimeline={() => Promise.resolve([])}
        onNew={vi.fn()}
        onRefresh={vi.fn()}
      />
    );
    const asked = early.refreshSites();
    await act(() => early.refresh());
    const section = screen.getByRole('region', { name: 'Sites' });
    expect(section.textContent).toContain('Asking the server.');
    expect(section.textContent).not.toContain('administrator');
    sites.resolve([]);
    await act(() => asked);
    expect(section.textContent).toContain('an administrator declares one');
    expect(model.areSitesKnown).toBe(true);
  });

  it('says changes of phase to screen readers', async () => {
    const { client, model } = await show(cluster('a', 'starting'));
    client.list = { revision: 2, clusters: [cluster('a', 'running', { revision: 2 })] };
    await act(() => model.refresh());
    expect(screen.getByRole('status').textContent).toBe('Cluster a is running.');
    const reason = { code: 'scheduler-died' as const, message: 'It died.', hint: null };
    client.list = { revision: 3, clusters: [cluster('a', 'failed', { revision: 3, reason })] };
    await act(() => model.refresh());
    expect(screen.getByRole('status').textContent).toBe('Cluster a is failed. It died.');
  });

  it('keeps the cards and says why when the server cannot be heard', async () => {
    const { client, model } = await show(cluster('a'));
    client.listClusters = () => Promise.reject(new Error('Away.'));
    await act(() => model.refresh());
    expect(screen.getByRole('alert').textContent).toContain('Away.');
    client.listClusters = () =>
      Promise.reject(OffloadProblem.of('unreachable', 'Not there.', { hint: 'Look.' }));
    await act(() => model.refresh());
    expect(screen.getByRole('alert').textContent).toContain('Not there.Look. Shown is what');
    expect(card('a')).toBeTruthy();
  });

  it('shows sites with health and what is free in words', async () => {
    const { onNew } = await show();
    const row = within(screen.getByRole('list', { name: 'Sites' })).getByRole('listitem');
    expect(within(row).getByRole('img', { name: 'healthy' })).toBeTruthy();
    expect(row.textContent).toContain('14 of 16 cores idle');
    fireEvent.click(within(row).getByRole('button', { name: 'This machine' }));
    expect(onNew).toHaveBeenCalledWith('local');
  });
});
