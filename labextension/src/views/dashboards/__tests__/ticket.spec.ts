import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { OffloadProblem } from '../../../api/problem';
import type { DashboardTicket } from '../../../api/types';
import { DashboardAccess, DashboardAccesses } from '../ticket';

const MINUTE = 60_000;

let issued: number;
let answer: () => DashboardTicket;
let access: DashboardAccess;

function ticket(lifeMs = 5 * MINUTE): DashboardTicket {
  return {
    path: `offload/v1/view/t${issued}/`,
    expires_at: new Date(Date.now() + lifeMs).toISOString()
  };
}

beforeEach(() => {
  vi.useFakeTimers();
  issued = 0;
  answer = () => ticket();
  access = new DashboardAccess(async () => {
    issued += 1;
    return answer();
  });
});

afterEach(() => {
  access.dispose();
  vi.useRealTimers();
});

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

describe('the right to show dashboards', () => {
  it('asks for nothing before it is started', async () => {
    await pass(10 * MINUTE);
    expect(issued).toBe(0);
  });

  it('is renewed before it lapses, and open frames stay', async () => {
    access.start();
    await pass(0);
    expect(access.path).toBe('offload/v1/view/t1/');
    const { epoch } = access;
    await pass(2.5 * MINUTE - 1);
    expect(issued).toBe(1);
    await pass(1);
    expect(issued).toBe(2);
    await pass(60 * MINUTE);
    expect(access.epoch).toBe(epoch);
    expect(issued).toBeGreaterThan(20);
  });

  it('gives frames the new path when it had lapsed, as after sleep', async () => {
    access.start();
    await pass(0);
    const { epoch } = access;
    vi.setSystemTime(Date.now() + 60 * MINUTE);
    await pass(2.5 * MINUTE);
    expect(access.epoch).toBe(epoch + 1);
  });

  it('does not ask in a loop where the clocks of server and browser differ', async () => {
    answer = () => ticket(-60 * MINUTE);
    access.start();
    await pass(10 * MINUTE);
    expect(issued).toBeLessThanOrEqual(21);
    answer = () => ({ path: 'x/', expires_at: 'no date' });
    await pass(10 * MINUTE);
    expect(issued).toBeLessThanOrEqual(42);
  });

  it('keeps quiet about a failed renewal while the last ticket holds, then says it', async () => {
    access.start();
    await pass(0);
    answer = () => {
      throw OffloadProblem.of('unreachable', 'no answer', { transient: true });
    };
    await pass(2.5 * MINUTE + 100);
    expect(issued).toBeGreaterThan(1);
    expect(access.problem).toBeNull();
    await pass(4 * MINUTE);
    expect(access.problem?.message).toBe('no answer');
  });

  it('tries again ever more slowly, and heals by itself', async () => {
    const good = answer;
    answer = () => {
      throw new Error('no answer');
    };
    access.start();
    await pass(10 * MINUTE);
    expect(access.problem?.message).toBe('no answer');
    // 2, 4, 8, 16, 32 s, then each minute
    expect(issued).toBeLessThanOrEqual(16);
    const { epoch } = access;
    answer = good;
    await pass(MINUTE);
    expect(access.problem).toBeNull();
    expect(access.epoch).toBe(epoch + 1);
  });

  it('gives frames the new path after the server was away', async () => {
    access.start();
    await pass(0);
    const { epoch } = access;
    access.suspect();
    expect(issued).toBe(1);
    await pass(2_000);
    expect(issued).toBe(2);
    expect(access.epoch).toBe(epoch + 1);
  });

  it('asks no more once stopped, also when an answer was on its way', async () => {
    access.start();
    access.stop();
    await pass(60 * MINUTE);
    expect(issued).toBe(1);
    expect(access.path).toBeNull();
  });
});

describe('panes of one cluster', () => {
  it('share one ticket, which ends with the last of them', async () => {
    const asked: string[] = [];
    const accesses = new DashboardAccesses(async id => {
      asked.push(id);
      return ticket();
    });
    const first = accesses.acquire('a');
    expect(accesses.acquire('a')).toBe(first);
    first.start();
    first.start();
    await pass(0);
    expect(asked).toEqual(['a']);
    accesses.release('a');
    await pass(3 * MINUTE);
    expect(asked).toEqual(['a', 'a']);
    accesses.release('a');
    await pass(60 * MINUTE);
    expect(asked).toHaveLength(2);
    expect(accesses.acquire('a')).not.toBe(first);
  });
});
