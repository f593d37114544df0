import { describe, expect, it } from 'vitest';
import type { Worker } from '../../api/types';
import { groupWords, waitingGroups } from '../stages';
import { shortageWords } from '../words';
import { cluster, site, trans } from './fakes';
import { resolveProfile } from '../asked';

export function worker(name: string, more: Partial<Worker> = {}): Worker {
  return {
    name,
    state: 'starting',
    address: null,
    pid: null,
    cores: 1,
    memory_bytes: 2 ** 30,
    memory_used_bytes: 0,
    spilled_bytes: 0,
    cpu_fraction: 0,
    tasks_done: 0,
    executing: 0,
    restarts: 0,
    message: null,
    code: null,
    hint: null,
    stage: 'queued',
    stage_since: '2026-11-21T10:00:00Z',
    deadline_at: null,
    site_id: null,
    round_trip_s: null,
    versions: {},
    ...more
  };
}

describe('stages of workers', () => {
  it('groups what waits for the same, lost ones first, then the least far', () => {
    const queued = { code: 'site-queued' as const, message: 'PENDING (Resources)' };
    const groups = waitingGroups([
      worker('a', { ...queued, stage_since: '2026-11-21T10:00:05Z' }),
      worker('b', { ...queued, deadline_at: '2026-11-21T12:00:00Z' }),
      worker('c', { stage: 'submitted' }),
      worker('d', { state: 'lost', code: 'image-failed', message: 'No such image.' }),
      worker('e', { stage: 'proven', state: 'connected' }),
      worker('f', { state: 'retiring', stage: 'started' }),
      worker('g', { stage: null })
    ]);
    expect(groups.map(it => groupWords(it, trans))).toEqual([
      '1 lost',
      '1 asked for',
      '2 in the queue of the site'
    ]);
    expect(groups[2]).toMatchObject({
      message: 'PENDING (Resources)',
      since: '2026-11-21T10:00:00Z',
      deadline: '2026-11-21T12:00:00Z'
    });
  });
});

describe('shortage', () => {
  const gpu = { resource: 'nvidia.com/gpu', model: 'A100', count: 2 };
  const profile = { ...resolveProfile(undefined, cluster('x').spec), accelerators: [gpu] };
  const at = (free: number | null) => {
    const { capacity } = site('x');
    const there = { ...gpu, kind: 'gpu' as const, title: 'A100', total: 8, free };
    return site('x', { capacity: { ...capacity, accelerators: [there] } });
  };

  it('is said when fewer are free than are asked for, and never of what nobody reports', () => {
    expect(shortageWords(at(3), profile, 2, trans)).toContain(
      '2 workers need 4 × A100; 3 free'
    );
    expect(shortageWords(at(4), profile, 2, trans)).toBeNull();
    expect(shortageWords(at(null), profile, 2, trans)).toBeNull();
    expect(shortageWords(site('x'), profile, 2, trans)).toBeNull();
  });
});
