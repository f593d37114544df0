import { describe, expect, it } from 'vitest';
import { checkForm, formOf, specOf, startForm, type IClusterForm } from '../form';
import { freeName } from '../names';
import { NewClusterState } from '../newCluster';
import { ExtendState, ScaleState } from '../change';
import { cluster, environment, FakeClient, makeModel, problem, site, trans } from './fakes';

const local = site('local');

function form(more: Partial<IClusterForm> = {}): IClusterForm {
  return { ...startForm([local], [], {}, ''), ...more };
}

describe('the New-cluster form', () => {
  it('begins with what was chosen last, where that still exists', () => {
    const gone = startForm([local], [], { site: 'gone', profile: 'big', workers: '3' }, '');
    expect(gone).toMatchObject({ site: 'local', profile: 'big', workers: '3', cores: '8' });
    const sick = site('sick', { health: { ...local.health, state: 'unhealthy' } });
    expect(startForm([sick, local], [], { site: 'sick' }, '').site).toBe('local');
  });

  it('proposes a free name', () => {
    expect(freeName([])).toBe('charm');
    expect(freeName(['charm'])).toBe('strange');
    expect(freeName(['zmumu', 'zmumu-2'], 'zmumu')).toBe('zmumu-3');
    expect(freeName(['zmumu-2'], 'zmumu-2')).toBe('zmumu-3');
    expect(freeName([], 'x'.repeat(40)).length).toBe(40);
  });

  it('starts again under the same name, unless an unfinished cluster has it', () => {
    const again = (...clusters: Parameters<typeof startForm>[1]) =>
      startForm([local], clusters, { name: 'zmumu' }, '').name;
    expect(again(cluster('zmumu', 'failed'), cluster('other'))).toBe('zmumu');
    expect(again(cluster('zmumu', 'stopping'))).toBe('zmumu-2');
    expect(again(cluster('zmumu', 'stopped'), { ...cluster('b'), name: 'zmumu' })).toBe(
      'zmumu-2'
    );
    expect(startForm([local], [cluster('charm', 'stopped')], {}, '').name).toBe('strange');
  });

  it.each([
    [{ workers: '9' }, 'workers', '9 is more than the 8 you may have.'],
    [{ workers: 'two' }, 'workers', 'Write a whole number from 0 to 8.'],
    [{ workers: '1.5' }, 'workers', 'Write a whole number from 0 to 8.'],
    [{ workers: '' }, 'workers', 'Write a whole number from 0 to 8.'],
    [{ isAdaptive: true, minimum: '5', maximum: '3' }, 'adaptive.minimum', '5 is above 3.'],
    [{ isAdaptive: true, maximum: '0' }, 'adaptive.maximum', '0 is less than 1.'],
    [{ hasOwnSize: true, cores: '5' }, 'cores', '5 is more than the 4 you may have.'],
    [{ hasOwnSize: true, memory: ' ' }, 'memory_bytes', "Write an amount such as '4 GiB'."],
    [{ name: 'no spaces' }, 'name', "Use letters, digits, '.', '_' and '-'"]
  ])('says what is wrong while typing: %j', (patch, field, message) => {
    const messages = checkForm(form(patch), local, [], trans);
    expect(Object.keys(messages)).toEqual([field]);
    expect(messages[field]).toContain(message);
  });

  it('does not take the name of an unfinished cluster, but that of a finished one', () => {
    const taken = form({ name: 'a' });
    expect(checkForm(taken, local, [cluster('a', 'running')], trans).name).toBeTruthy();
    expect(checkForm(taken, local, [cluster('a', 'failed')], trans).name).toBeUndefined();
  });

  it('gives a spec with what was chosen and nothing else', () => {
    expect(specOf(form({ name: 'z' }))).toEqual({
      name: 'z',
      site: 'local',
      profile: 'small',
      workers: 2,
      environment: null
    });
    expect(
      specOf(
        form({
          name: 'z',
          isAdaptive: true,
          minimum: '1',
          maximum: '4',
          hasOwnSize: true,
          cores: '2',
          memory: '3 GiB',
          idleTimeout: '0',
          lifetime: '3600',
          env: 'A=1\nB=x=y\n\n',
          modules: 'one.two, three'
        })
      )
    ).toMatchObject({
      workers: 1,
      adaptive: { minimum: 1, maximum: 4 },
      cores: 2,
      memory_bytes: '3 GiB',
      idle_timeout_s: 0,
      lifetime_s: 3600,
      env: { A: '1', B: 'x=y' },
      modules: ['one.two', 'three']
    });
  });

  it('can ask for a spec again without loss', () => {
    const { spec } = cluster('a');
    const asked = {
      ...spec,
      adaptive: { minimum: 1, maximum: 5 },
      cores: 2,
      memory_bytes: 1_610_612_736,
      modules: ['m'],
      env: { A: '1' },
      lifetime_s: 7200
    };
    const again = specOf(startForm([local], [], formOf(asked), ''));
    expect(again).toMatchObject({
      cores: 2,
      memory_bytes: '1536 MiB',
      adaptive: asked.adaptive,
      modules: ['m'],
      env: { A: '1' },
      lifetime_s: 7200
    });
    // What a record resolved to the profile's own size is no own size.
    const plain = formOf({ ...spec, cores: 1, memory_bytes: 2 ** 32 });
    expect(startForm([local], [], plain, '').hasOwnSize).toBe(false);
  });
});

describe('NewClusterState', () => {
  async function make(more: Partial<IClusterForm> = {}) {
    const client = new FakeClient();
    const model = makeModel(client);
    await model.refreshSites();
    const state = new NewClusterState(model, form({ name: 'z', ...more }), trans);
    return { client, model, state };
  }

  it('keeps everything when the server refuses, and says it beside the field', async () => {
    const { client, state } = await make({ hasOwnSize: true, memory: 'banana' });
    client.createCluster = () =>
      Promise.reject(
        problem({
          detail: 'The request has a mistake.',
          errors: [
            {
              field: 'spec.memory_bytes',
              message: "'banana' is no memory.",
              hint: 'Write 4 GiB.'
            }
          ]
        })
      );
    expect(await state.submit()).toBeNull();
    expect(state.messages.memory_bytes).toBe("'banana' is no memory. Write 4 GiB.");
    expect(state.problem?.message).toBe('The request has a mistake.');
    expect(state.form.memory).toBe('banana');
    state.set({ memory: '4 GiB' });
    expect(state.messages).toEqual({});
    expect(state.problem).toBeNull();
  });

  it('sends nothing that is known to be wrong', async () => {
    const { client, state } = await make({ workers: '1000000' });
    expect(await state.submit()).toBeNull();
    expect(client.created).toEqual([]);
  });

  it('creates one cluster however often Enter is pressed', async () => {
    const { client, state } = await make();
    const [first, second] = await Promise.all([state.submit(), state.submit()]);
    expect(first?.name).toBe('z');
    expect(second).toBeNull();
    expect(client.created).toHaveLength(1);
  });

  it('shows what would be submitted, for the newest form only', async () => {
    const { client, state } = await make();
    state.set({ workers: '3' });
    state.set({ workers: '4' });
    await new Promise(resolve => setTimeout(resolve, 400));
    expect(client.previewed.map(it => it.workers)).toEqual([4]);
    expect(state.preview?.text).toBe('python -m scheduler');
    state.dispose();
  });

  it('falls back to the default environment when the remembered one is gone', async () => {
    const { client, model } = await make();
    client.environments = [
      environment('python3', { default: true }),
      environment('bare', { usable: false, problem: 'dask is missing' })
    ];
    const state = new NewClusterState(model, form({ environment: 'bare' }), trans);
    await new Promise(resolve => setTimeout(resolve));
    expect(state.form.environment).toBe('');
    expect(state.environment?.name).toBe('python3');
  });

  it('moves to a profile of the new site', async () => {
    const { client, model, state } = await make({ profile: 'big' });
    client.sites = [
      local,
      site('other', {
        profiles: [{ ...local.profiles[0], name: 'only', cores: 3 }],
        default_profile: 'only'
      })
    ];
    await model.refreshSites();
    state.setSite('other');
    expect(state.form).toMatchObject({ site: 'other', profile: 'only', cores: '3' });
  });
});

describe('changing a cluster', () => {
  it('scales and adapts within the limits of the profile', async () => {
    const client = new FakeClient();
    const state = new ScaleState(makeModel(client), cluster('a'), trans);
    state.set({ workers: '9' });
    expect(state.messages.workers).toContain('more than the 8');
    expect(await state.submit()).toBeNull();
    state.set({ isAdaptive: true, minimum: '2', maximum: '6' });
    await state.submit();
    expect(client.changed).toEqual([{ adaptive: { minimum: 2, maximum: 6 } }]);
  });

  it('counts a lifetime from the start of the cluster, within what the site allows', async () => {
    const client = new FakeClient();
    const old = cluster('a', 'running', {
      created_at: new Date(Date.now() - 3_600_000).toISOString(),
      profile: { ...cluster('a').profile, maximum_lifetime_s: 10_000 }
    });
    const state = new ExtendState(makeModel(client), old, trans);
    expect(await state.submit()).toBeNull();
    expect([3600, 14_400, 0].map(it => state.isAllowed(it))).toEqual([true, false, false]);
    state.set({ lifetimeFromNow: '3600', idleTimeout: '0' });
    await state.submit();
    const [change] = client.changed as { idle_timeout_s: number; lifetime_s: number }[];
    expect(change.idle_timeout_s).toBe(0);
    expect(Math.abs(change.lifetime_s - 7200)).toBeLessThan(60);
  });
});
