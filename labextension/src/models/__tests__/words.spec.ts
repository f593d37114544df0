import { describe, expect, it } from 'vitest';
import { News } from '../news';
import { exactBytes, formatBytes, formatBytesOf, formatDuration } from '../quantities';
import {
  acceleratorFree,
  arrivedWords,
  endWords,
  heardWords,
  placeWords,
  readyWords,
  siteWords,
  splitMessage
} from '../words';
import { cluster, site, trans } from './fakes';

const now = new Date('2026-11-21T12:00:00Z');

describe('words', () => {
  it.each([
    [38, '38 s'],
    [41 * 60, '41 min'],
    [3600, '1 h'],
    [3 * 3600 + 5 * 60, '3 h 5 min'],
    [52 * 3600, '2 d 4 h'],
    [-5, '0 s']
  ])('%i seconds are %s', (seconds, text) => {
    expect(formatDuration(seconds, trans)).toBe(text);
  });

  it('writes amounts with units', () => {
    expect(formatBytes(2 ** 32)).toBe('4 GiB');
    expect(formatBytes(1.5 * 2 ** 30)).toBe('1.5 GiB');
    expect(formatBytesOf(31 * 2 ** 30, 128 * 2 ** 30, trans)).toBe('31 of 128 GiB');
    expect(formatBytesOf(75 * 2 ** 20, 4 * 2 ** 30, trans)).toBe('75 MiB of 4 GiB');
    expect(formatBytesOf(0, 2 ** 30, trans)).toBe('0 B of 1 GiB');
    expect(exactBytes(1536 * 2 ** 20)).toBe('1536 MiB');
  });

  it('says where, how many and how much arrived', () => {
    const profile = {
      ...cluster('a').profile,
      cores: 8,
      accelerators: [{ resource: 'nvidia.com/gpu', model: 'A100', count: 1 }]
    };
    const one = cluster('a', 'running', {
      profile,
      workers: { requested: 8, starting: 2, connected: 6 }
    });
    expect(placeWords(one, trans)).toBe('This machine · 8 × 8 cores, 2 GiB, 1 × A100');
    expect(arrivedWords(one, trans)).toBe('6 of 8 workers connected · 2 starting');
    const none = cluster('a', 'running', {
      workers: { requested: 0, starting: 0, connected: 0 }
    });
    expect(arrivedWords(none, trans)).toBe('no workers');
  });

  it('says when and why it ends', () => {
    const end = { at: '2026-11-21T12:23:00Z', because: 'idle' as const };
    expect(endWords(cluster('a', 'running', { end }), now, trans)?.text).toBe(
      'ends in 23 min if idle'
    );
    expect(endWords(cluster('a'), now, trans)).toBeNull();
  });

  it('does not say gone for what nobody could see', () => {
    const health = {
      state: 'unknown' as const,
      message: 'No answer.',
      hint: 'Wait.',
      checked_at: '2026-11-21T11:59:59Z',
      last_heard_at: '2026-11-21T11:56:00Z'
    };
    const cnaf = site('cnaf', { health });
    expect(siteWords(cnaf, now, trans)).toEqual({
      text: 'No answer.',
      title: 'No answer. Wait.'
    });
    expect(heardWords(cnaf, now, trans)?.text).toBe('last heard 4 min ago');
    expect(heardWords(site('local'), now, trans)).toBeNull();
  });

  it('calls what it measured idle, and what was not given away free', () => {
    const here = siteWords(site('local', { description: 'Here.' }), now, trans);
    expect(here.text).toBe('14 of 16 cores idle');
    expect(here.title).toContain('Here.\nIdle are cores that compute nothing just now');
    const batch = siteWords(site('cnaf', { backend: 'jobqueue' }), now, trans);
    expect(batch.text).toBe('14 of 16 cores free');
    expect(batch.title).not.toContain('dle');
  });

  it('says the first line of a long message', () => {
    expect(splitMessage(' One.\r\n\n  two\nthree\n')).toEqual({
      head: 'One.',
      rest: '  two\nthree'
    });
    expect(splitMessage('One.')).toEqual({ head: 'One.', rest: '' });
    const health = { ...site('x').health, state: 'unhealthy' as const, message: 'Bad:\na: b' };
    expect(siteWords(site('x', { health }), now, trans)).toEqual({
      text: 'Bad:',
      title: 'Bad:\na: b'
    });
    const reason = { code: 'scheduler-died' as const, message: 'It died.\nlog', hint: null };
    const change = { old: cluster('a'), now: cluster('a', 'failed', { reason }) };
    expect(new News(trans).ofChange({ type: 'changed', id: 'a', ...change })?.message).toBe(
      'Cluster a failed: It died.'
    );
  });

  it('shows unknown numbers as unknown', () => {
    const { capacity } = site('x');
    const gpu = {
      resource: 'nvidia.com/gpu',
      model: 'A100',
      kind: 'gpu' as const,
      title: 'A100',
      total: 40 as number | null,
      free: null as number | null
    };
    const unknown = site('x', {
      capacity: {
        ...capacity,
        cores_free: null,
        cores_total: null,
        accelerators: [gpu],
        expected_start_s: null
      }
    });
    expect(siteWords(unknown, now, trans).text).toBe('capacity unknown');
    expect(acceleratorFree(gpu, trans).text).toBe('40 × A100, free unknown');
    expect(acceleratorFree({ ...gpu, total: null }, trans).text).toBe('A100, number unknown');
    expect(acceleratorFree({ ...gpu, free: 0 }, trans).text).toBe('A100 0 of 40 free');
    expect(readyWords(unknown, trans)).toBe('time to ready unknown');
    expect(readyWords(site('x'), trans)).toBe('ready in < 1 s');
  });
});

describe('news', () => {
  it('is a failure that was not there before', () => {
    const news = new News(trans);
    const failed = cluster('a', 'failed', {
      reason: { code: 'scheduler-died', message: 'It died.', hint: 'Start again.' }
    });
    expect(news.ofChange({ type: 'added', id: 'a', old: null, now: failed })).toBeNull();
    expect(
      news.ofChange({ type: 'changed', id: 'a', old: cluster('a'), now: failed })?.message
    ).toBe('Cluster a failed: It died. Start again.');
    expect(news.ofChange({ type: 'changed', id: 'a', old: failed, now: failed })).toBeNull();
  });

  it('is an end in sight, once, and again after it was put off', () => {
    const news = new News(trans);
    const at = (time: string) =>
      cluster('a', 'running', { end: { at: time, because: 'lifetime' } });
    expect(news.endings([at('2026-11-21T13:00:00Z')], now)).toEqual([]);
    expect(news.endings([at('2026-11-21T12:08:00Z')], now)[0].message).toBe(
      'Cluster a ends in 8 min (lifetime).'
    );
    expect(news.endings([at('2026-11-21T12:08:00Z')], now)).toEqual([]);
    expect(news.endings([at('2026-11-21T14:00:00Z')], now)).toEqual([]);
    expect(news.endings([at('2026-11-21T12:09:00Z')], now)).toHaveLength(1);
  });
});
