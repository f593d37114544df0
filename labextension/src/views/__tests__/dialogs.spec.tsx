import { act, cleanup, fireEvent, render, screen, waitFor } from '@testing-library/react';
import { afterEach, describe, expect, it } from 'vitest';
import { startForm } from '../../models/form';
import { ExtendState } from '../../models/change';
import { NewClusterState } from '../../models/newCluster';
import {
  cluster,
  environment,
  FakeClient,
  makeModel,
  problem,
  site,
  trans
} from '../../models/__tests__/fakes';
import { stopWords } from '../dialogs/confirm';
import { Extend } from '../dialogs/Extend';
import { NewCluster, showNewCluster } from '../dialogs/NewCluster';

afterEach(() => {
  cleanup();
  document.body.innerHTML = '';
});

async function make(change: (client: FakeClient) => void = () => undefined) {
  const client = new FakeClient();
  client.environments = [
    environment('python3', { default: true, title: 'Python 3' }),
    environment('new', { title: 'New', python_version: '3.13.0' }),
    environment('bare', {
      title: 'Bare',
      usable: false,
      problem: 'dask is missing',
      hint: 'pip install dask distributed'
    })
  ];
  change(client);
  const model = makeModel(client);
  await model.refreshSites();
  const form = { ...startForm(model.sites, [], {}, ''), name: 'zmumu' };
  const state = new NewClusterState(model, form, trans);
  return { client, model, state };
}

async function show(change?: (client: FakeClient) => void) {
  const made = await make(change);
  await act(async () => {
    render(<NewCluster state={made.state} kernel="python3" />);
  });
  return made;
}

const option = (name: RegExp) => screen.getByRole('option', { name }) as HTMLOptionElement;

describe('the New-cluster dialog', () => {
  it('has a name for each control', async () => {
    await show();
    for (const name of [
      'Name',
      'Worker',
      'Environment',
      'Ends when idle for',
      'And at the latest'
    ]) {
      expect(screen.getByLabelText(name)).toBeTruthy();
    }
    for (const name of ['Number of workers', 'Fewest workers', 'Most workers']) {
      expect(screen.getByRole('spinbutton', { name })).toBeTruthy();
    }
    expect(screen.getByRole('group', { name: 'Where' })).toBeTruthy();
  });

  it('shows the limit, and the mistake while typing', async () => {
    await show();
    expect(screen.getByText('(you may have 8)')).toBeTruthy();
    const count = screen.getByRole('spinbutton', { name: 'Number of workers' });
    fireEvent.change(count, { target: { value: '9' } });
    expect(screen.getByRole('alert').textContent).toBe('9 is more than the 8 you may have.');
    expect(count.getAttribute('aria-invalid')).toBe('true');
    const described = document.getElementById(count.getAttribute('aria-describedby') ?? '');
    expect(described?.textContent).toContain('9 is more than');
    fireEvent.change(screen.getByLabelText('Worker'), { target: { value: 'big' } });
    expect(screen.getByText('(you may have 3)')).toBeTruthy();
  });

  it('says where with time to ready and what is free, and why a place is greyed', async () => {
    await show(client => {
      const health = {
        state: 'unhealthy' as const,
        message: 'Draining.',
        hint: null,
        checked_at: null,
        last_heard_at: null
      };
      client.sites = [site('local'), site('cnaf', { health })];
    });
    const [local, cnaf] = screen.getAllByRole('radio') as HTMLInputElement[];
    expect(local.checked).toBe(true);
    expect(local.closest('label')?.textContent).toContain('ready in < 1 s');
    expect(local.closest('label')?.textContent).toContain('14 of 16 cores idle');
    expect(cnaf.disabled).toBe(true);
    expect(cnaf.closest('label')?.textContent).toContain('Draining.');
  });

  it('asks for sites that were not heard yet, and takes the first when they come', async () => {
    const { client, model } = await make(fake => {
      fake.listSites = () => Promise.reject(new Error('Away.'));
    });
    const form = { ...startForm([], [], {}, ''), name: 'zmumu' };
    const state = new NewClusterState(model, form, trans);
    render(<NewCluster state={state} kernel={null} />);
    const where = screen.getByRole('group', { name: 'Where' });
    expect(where.textContent).toBe('WhereAsking the server.');
    client.listSites = () => Promise.resolve([]);
    await act(() => model.refreshSites());
    expect(where.textContent).toContain('There is no site');
    client.listSites = () => Promise.resolve([site('local')]);
    await act(() => model.refreshSites());
    expect((screen.getByRole('radio') as HTMLInputElement).checked).toBe(true);
    expect(state.form.profile).toBe('small');
  });

  it('marks the environment of the kernel, greys the unusable with the remedy, warns of another Python', async () => {
    const { state } = await show();
    expect(option(/^Python 3/).textContent).toContain('(same versions as this kernel)');
    expect(option(/^New/).textContent).not.toContain('same versions');
    expect(option(/^Bare/).disabled).toBe(true);
    expect(option(/^Bare/).textContent).toContain('dask is missing');
    expect(screen.getByText('pip install dask distributed')).toBeTruthy();
    act(() => state.set({ environment: 'new' }));
    expect(
      screen.getByText(/The kernel has Python 3.11, the cluster Python 3.13./)
    ).toBeTruthy();
  });

  it('asks for cores and memory only when an own size is wanted', async () => {
    const { state } = await show();
    expect(screen.queryByLabelText('Memory')).toBeNull();
    const select = screen.getByLabelText('Worker') as HTMLSelectElement;
    fireEvent.change(select, {
      target: { value: select.options[select.options.length - 1].value }
    });
    expect((screen.getByLabelText('Memory') as HTMLInputElement).value).toBe('4 GiB');
    expect(screen.getByText('(one worker may have 4)')).toBeTruthy();
    fireEvent.change(select, { target: { value: 'big' } });
    expect(screen.queryByLabelText('Memory')).toBeNull();
    expect(state.form.hasOwnSize).toBe(false);
  });

  it('greys lifetimes that the site does not allow, and says so', async () => {
    await show();
    expect(option(/after 3 d/).disabled).toBe(true);
    expect(option(/after 3 d/).textContent).toContain('at most 1 d here');
    expect(option(/after 12 h/).disabled).toBe(false);
  });

  it('offers to attach the notebook of now, if there is one', async () => {
    const { model, state } = await show();
    expect(screen.queryByRole('checkbox', { name: /^Attach/ })).toBeNull();
    const offer = { title: 'zmumu.ipynb', isOn: true };
    const offered = new NewClusterState(model, { ...state.form }, trans, offer);
    cleanup();
    render(<NewCluster state={offered} kernel={null} />);
    const box = screen.getByRole('checkbox', {
      name: 'Attach zmumu.ipynb'
    }) as HTMLInputElement;
    expect(box.checked).toBe(true);
    fireEvent.click(box);
    expect(box.checked).toBe(false);
    expect(offered.attach?.isOn).toBe(false);
  });

  it('shows what will be submitted and the warnings of the server', async () => {
    const { state } = await show(client => {
      const { previewCluster } = client;
      client.previewCluster = async spec => ({
        ...(await previewCluster(spec)),
        warnings: ['Only 0 cores are free.']
      });
    });
    await waitFor(() => expect(state.preview).not.toBeNull());
    expect(screen.getByText('python -m scheduler')).toBeTruthy();
    expect(screen.getByText('Only 0 cores are free.')).toBeTruthy();
  });
});

describe('the dialog in Lab', () => {
  async function launch(change?: (client: FakeClient) => void) {
    const before = document.createElement('button');
    document.body.append(before);
    before.focus();
    const made = await make(change);
    const done = showNewCluster(made.state, null, trans);
    // jsdom does not show a <dialog>, so that queries by role pass it over.
    const dialog = await waitFor(() => {
      const found = document.querySelector<HTMLElement>('dialog[aria-label="New cluster"]');
      expect(found).not.toBeNull();
      return found as HTMLElement;
    });
    const name = await waitFor(() => {
      const found = dialog.querySelector<HTMLInputElement>('input[data-field="name"]');
      expect(document.activeElement).toBe(found);
      return found as HTMLInputElement;
    });
    const press = (key: string) =>
      act(async () => void fireEvent.keyDown(name, { key, bubbles: true }));
    return { ...made, before, done, dialog, press };
  }

  it('creates on Enter; the focus returns to where it was', async () => {
    const { before, client, done, press } = await launch();
    await press('Enter');
    expect((await done)?.name).toBe('zmumu');
    expect(client.created).toHaveLength(1);
    expect(document.activeElement).toBe(before);
  });

  it('closes on Escape without a cluster', async () => {
    const { before, client, done, press } = await launch();
    await press('Escape');
    expect(await done).toBeNull();
    expect(client.created).toEqual([]);
    expect(document.activeElement).toBe(before);
  });

  it('stays open when the server refuses, says why, and loses nothing', async () => {
    let isRefused = true;
    const { client, dialog, done, press } = await launch(fake => {
      const { createCluster } = fake;
      fake.createCluster = (id, spec) =>
        isRefused
          ? Promise.reject(
              problem({
                status: 409,
                code: 'limit-exceeded',
                detail: 'You have 20 clusters.',
                hint: 'Forget one.'
              })
            )
          : createCluster(id, spec);
    });
    await press('Enter');
    await waitFor(() => expect(dialog.textContent).toContain('You have 20 clusters.'));
    expect(dialog.textContent).toContain('Forget one.');
    expect(dialog.querySelector<HTMLInputElement>('input[data-field="name"]')?.value).toBe(
      'zmumu'
    );
    expect(client.created).toEqual([]);
    isRefused = false;
    await press('Enter');
    expect((await done)?.name).toBe('zmumu');
  });
});

describe('other dialogs', () => {
  it('extends by what the site allows', async () => {
    const profile = { ...cluster('a').profile, maximum_lifetime_s: 20_000 };
    const created_at = new Date().toISOString();
    const state = new ExtendState(
      makeModel(new FakeClient()),
      cluster('a', 'running', { profile, created_at }),
      trans
    );
    render(<Extend state={state} />);
    expect(option(/^in 4 h/).disabled).toBe(false);
    expect(option(/^in 12 h/).disabled).toBe(true);
    expect(option(/^no end \(at most/).disabled).toBe(true);
  });

  it('says what would be lost by a shutdown', () => {
    const { usage } = cluster('a');
    const busy = cluster('a', 'running', {
      usage: { ...usage, cores: 4, busy_fraction: 0.5, clients: 2, tasks_waiting: 7 }
    });
    expect(stopWords(busy, trans)).toBe(
      '2 clients are connected (notebooks or scripts). About 2 tasks are running and 7 waiting. Results on its workers are lost. Logs and history stay until you forget the card.'
    );
    expect(stopWords(cluster('a'), trans)).toContain('Nothing is running on it.');
  });
});
