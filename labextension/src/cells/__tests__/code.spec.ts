import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import {
  attachCode,
  clientCell,
  detachCode,
  isClientCell,
  pythonString,
  type Route
} from '../code';

const byPackage = (name: string): Route => ({ kind: 'package', name });
const byFile = (connectionFile: string): Route => ({ kind: 'file', connectionFile });

function python(program: string, input: string): string {
  return execFileSync('python3', ['-c', program], { input, encoding: 'utf8' });
}

describe('text of the client cell', () => {
  it('names the cluster and nothing else where our package is there', () => {
    expect(clientCell(byPackage('zmumu'))).toBe(
      [
        'from dask.distributed import Client',
        'import jupyter_offload as offload',
        '',
        'cluster = offload.cluster("zmumu")',
        'client = Client(cluster)',
        'client'
      ].join('\n')
    );
  });

  it('reads the connection file where it is not, and demands encryption', () => {
    const text = clientCell(byFile('/data/x/connection.json'));
    expect(text).not.toContain('jupyter_offload');
    expect(text).toContain('Path("/data/x/connection.json")');
    expect(text).toContain('require_encryption=True');
    expect(text).toContain('security = tls and Security('); // a cluster that is not encrypted has no TLS files
    expect(text.split('\n').at(-1)).toBe('client');
  });

  it.each([
    'plain',
    'with "double" and \'single\' quotes',
    'back\\slash\\n',
    'a\ttab, a\nline, a \u2028 separator',
    'Müon µµ → 🎯',
    '"""); import os #'
  ])('writes %j so that Python reads it back', text => {
    const program =
      'import ast,json,sys; print(json.dumps(ast.literal_eval(sys.stdin.buffer.read().decode())))';
    expect(JSON.parse(python(program, pythonString(text)))).toBe(text);
  });

  it.each([byPackage('zmumu'), byFile('/with space/and "quote"/connection.json')])(
    'is Python in every form (%j)',
    route => {
      for (const code of [
        clientCell(route),
        attachCode(route, 'tls://h:1'),
        detachCode('tls://h:1')
      ]) {
        expect(() => python('import ast,sys; ast.parse(sys.stdin.read())', code)).not.toThrow();
      }
    }
  );
});

describe('what runs silently', () => {
  // Stand-ins for Dask and our package: the test is about names and repetition, not about connecting.
  const WORLD = `
import sys, types, json
made = []
class Client:
    def __init__(self, cluster):
        self.status, self.scheduler = "running", types.SimpleNamespace(address="tls://h:1")
        made.append(self)
    def close(self):
        self.status = "closed"
dask = types.ModuleType("dask"); dask.__path__ = []
distributed = types.ModuleType("dask.distributed"); distributed.Client = Client
offload = types.ModuleType("jupyter_offload"); offload.cluster = lambda name: name
sys.modules.update({"dask": dask, "dask.distributed": distributed, "jupyter_offload": offload})
kernel = {}
def answer():
    print(json.dumps([len(made), made[-1].status, sorted(k for k in kernel if k != "__builtins__")]))
`;
  const attach = attachCode(byPackage('zmumu'), 'tls://h:1');
  const run = (...codes: string[]): unknown =>
    JSON.parse(
      python(
        `${WORLD}\nfor code in json.load(sys.stdin): exec(code, kernel)\nanswer()`,
        JSON.stringify(codes)
      )
    );

  it('leaves cluster and client behind and no other name', () => {
    expect(run(attach)).toEqual([1, 'running', ['client', 'cluster']]);
  });

  it('does nothing where client is connected to this scheduler already', () => {
    expect(run(attach, attach)).toEqual([1, 'running', ['client', 'cluster']]);
  });

  it('connects anew where client is closed or something of the user', () => {
    expect(run(attach, 'client.close()', attach)).toEqual([
      2,
      'running',
      ['client', 'cluster']
    ]);
    expect(run('client = 42', attach)).toEqual([1, 'running', ['client', 'cluster']]);
  });

  it('closes the client when detaching, but only that of this cluster', () => {
    expect(run(attach, detachCode('tls://h:1'))).toEqual([1, 'closed', ['client', 'cluster']]);
    expect(run(attach, detachCode('tls://h:2'))).toEqual([1, 'running', ['client', 'cluster']]);
  });
});

describe('recognising the client cell', () => {
  it('finds it, also edited, and only for the same cluster', () => {
    const route = byPackage('zmumu');
    expect(isClientCell(clientCell(route), route)).toBe(true);
    expect(isClientCell("c = Client(offload.cluster('zmumu'))", route)).toBe(true);
    expect(isClientCell(clientCell(byPackage('zmumu-2')), route)).toBe(false);
    expect(isClientCell('offload.cluster("zmumu").scale(4)', route)).toBe(false);
    const file = byFile('/d/a "b"/connection.json');
    expect(isClientCell(clientCell(file), file)).toBe(true);
    expect(isClientCell(clientCell(byFile('/d/other.json')), file)).toBe(false);
  });
});
