/** A Kubernetes with a virtual node, as `virtual_node.py` starts it. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import * as path from 'node:path';
import * as readline from 'node:readline';
import { PYTHON, REPOSITORY } from './lab.js';

export interface ILeft {
  pods: string[];
  secrets: string[];
  jobs: string[];
  processes: number[];
}

export interface IVirtualNode {
  /** A site definition of ours. */
  site: Record<string, unknown>;
  /** What relay.yaml says. */
  relay: Record<string, unknown>;
  /** Whether its pods can dial `port` and nothing else. */
  walled: boolean;
  port: number;
  /** What the API server and the site have of a cluster. */
  left: (cluster: string) => Promise<ILeft>;
  /** Ports of this machine that its pods can dial. */
  reachable: () => Promise<number[]>;
  /** Misbehave so from now on; nothing = behave. */
  misbehave: (how?: Record<string, unknown>) => Promise<void>;
  kill: (part: string) => Promise<void>;
  start: (part: string) => Promise<void>;
  stop: () => Promise<void>;
}

export async function startVirtualNode(): Promise<IVirtualNode> {
  const script = path.join(REPOSITORY, 'ui-tests/support/virtual_node.py');
  const child: ChildProcessWithoutNullStreams = spawn(PYTHON, [script], { stdio: 'pipe' });
  let said = '';
  child.stderr.on('data', (text: Buffer) => (said += text.toString()));
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const read = async (): Promise<any> => {
    const line = await lines.next();
    if (line.done) {
      throw new Error(`The virtual node ended:\n${said.slice(-3000)}`);
    }
    return JSON.parse(line.value);
  };
  const ask = (...words: string[]): Promise<any> => {
    child.stdin.write(`${words.join(' ')}\n`);
    return read();
  };
  const told = await read();
  return {
    ...told,
    left: cluster => ask('left', cluster),
    reachable: () => ask('reachable'),
    misbehave: how => ask('misbehave', JSON.stringify(how ?? {})),
    kill: part => ask('kill', part),
    start: part => ask('start', part),
    stop: async () => {
      const ended = new Promise(resolve => child.once('exit', resolve));
      child.stdin.end();
      await ended;
    }
  };
}
