import { ServerConnection } from '@jupyterlab/services';
import { describe, expect, it, vi } from 'vitest';
import { OffloadClient } from '../client';
import { OffloadProblem } from '../problem';

interface IAsked {
  method: string;
  url: string;
  body: string;
}

/** A client whose requests end here; everything before is Lab's own. */
function make(status: number, body: string | null) {
  const asked: IAsked[] = [];
  const settings = ServerConnection.makeSettings({
    baseUrl: 'http://host/pre%20fix/',
    fetch: async (input: RequestInfo | URL) => {
      const request = input as Request;
      asked.push({
        method: request.method,
        url: request.url,
        body: await request.clone().text()
      });
      return new Response(body, { status, statusText: 'Status' });
    }
  });
  return { asked, client: new OffloadClient(settings) };
}

const cannotBeReached = (line: string) => `The Jupyter server cannot be reached (${line}).`;

describe('OffloadClient', () => {
  it('asks below the base URL, with names escaped', async () => {
    const { asked, client } = make(200, '{}');
    await client.getCluster('a/b c');
    await client.readLog('x', 'w0', -100, 50);
    expect(asked.map(it => it.url.replace(/[?&]\d{10,}$/, ''))).toEqual([
      'http://host/pre%20fix/offload/v1/clusters/a%2Fb%20c',
      'http://host/pre%20fix/offload/v1/clusters/x/logs/w0?offset=-100&limit=50'
    ]);
  });

  it('sends id and spec as JSON', async () => {
    const { asked, client } = make(202, '{"id": "x"}');
    await client.createCluster('x', { name: 'z', memory_bytes: '4 GiB' });
    expect(asked[0].method).toBe('POST');
    expect(JSON.parse(asked[0].body)).toEqual({
      id: 'x',
      spec: { name: 'z', memory_bytes: '4 GiB' }
    });
  });

  it('gives null for a cluster that was forgotten', async () => {
    expect(await make(204, null).client.deleteCluster('x')).toBeNull();
  });

  it('turns a problem document into its error', async () => {
    const document = {
      title: 'invalid',
      status: 422,
      code: 'invalid',
      detail: 'Two mistakes.',
      transient: false,
      errors: [{ field: 'spec.workers', message: 'Too many.', hint: 'At most 8.' }]
    };
    const error = await make(422, JSON.stringify(document))
      .client.listSites()
      .catch((it: unknown) => it as OffloadProblem);
    expect(error).toBeInstanceOf(OffloadProblem);
    expect(error).toMatchObject({ code: 'invalid', status: 422, message: 'Two mistakes.' });
    expect((error as OffloadProblem).errors[0].field).toBe('spec.workers');
  });

  it('makes one field of a problem that names one', async () => {
    const document = {
      code: 'name-in-use',
      detail: 'Taken.',
      field: 'name',
      hint: 'Take another.'
    };
    const error = (await make(409, JSON.stringify(document))
      .client.listSites()
      .catch((it: unknown) => it)) as OffloadProblem;
    expect(error.errors).toEqual([{ field: 'name', message: 'Taken.', hint: 'Take another.' }]);
  });

  it.each([
    [403, '{"message": "Forbidden"}', 'forbidden', 'Forbidden', false],
    [
      404,
      '<html>not found</html>',
      'extension-missing',
      'The Jupyter server does not know Offload.',
      false
    ],
    [424, '{"message": "stopped"}', 'unreachable', cannotBeReached('424 Status'), true],
    [502, '<html>bad gateway</html>', 'unreachable', cannotBeReached('502 Status'), true],
    [500, '{"message": "Oh."}', 'internal', 'Oh.', false]
  ])(
    'understands a %i that is none of ours',
    async (status, body, code, message, transient) => {
      const error = await make(status, body)
        .client.listClusters()
        .catch((it: unknown) => it);
      expect(error).toMatchObject({ code, message, transient });
    }
  );

  it.each([
    [new AbortController().signal, 'The Jupyter server cannot be reached.'],
    [AbortSignal.abort(), 'The Jupyter server did not answer within 30 s.']
  ])('says in its own words that nobody answers, with a remedy', async (signal, message) => {
    vi.spyOn(AbortSignal, 'timeout').mockReturnValueOnce(signal);
    const settings = ServerConnection.makeSettings({
      baseUrl: 'http://host/',
      fetch: () => Promise.reject(new TypeError('Failed to fetch'))
    });
    const error = await new OffloadClient(settings).health().catch((it: unknown) => it);
    expect(error).toMatchObject({
      code: 'unreachable',
      transient: true,
      message,
      hint: 'Check the network, and that the server still runs.'
    });
  });

  it('does not take a login page for an answer', async () => {
    const error = await make(200, '<html>Log in</html>')
      .client.listClusters()
      .catch((it: unknown) => it);
    expect(error).toMatchObject({
      code: 'internal',
      hint: 'You may have been logged out: reload this page.'
    });
  });
});
