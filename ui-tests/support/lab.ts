/**
 * A real JupyterLab for one test file: token and XSRF on, its own home, data, config and runtime folders, a port that the
 * OS assigns. What it starts it ends by process id: clusters through the API, the keeper, then the server.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';

export const REPOSITORY = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const PYTHON = process.env.OFFLOAD_PYTHON ?? path.join(REPOSITORY, '.venv/bin/python');
/** Folder with the tutorial's ROOT files; made by `python -m jupyter_offload.examples.nanoaod`. */
const DATA = process.env.OFFLOAD_DATA ?? '';
const START_TIMEOUT_MS = 90_000;

export interface ILab {
  /** Base URL with a trailing slash. */
  url: string;
  token: string;
  /** The folder that Lab shows. */
  folder: string;
  home: string;
  /** Where sockets and process names are. */
  runtime: string;
  /** Process id of the Jupyter server. */
  pid: number;
  /** Call our REST API with the token. */
  api: (method: string, path: string, body?: unknown) => Promise<Response>;
  /** `kill -9` of the server, then a new one on the same folders and the same token. */
  restart: () => Promise<void>;
  stop: () => Promise<void>;
}

interface IRunning {
  process: ChildProcess;
  url: string;
}

function sleep(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}

/** True while a process of this id is there and no zombie. */
export function isAlive(pid: number): boolean {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !['Z', 'X'].includes(stat.slice(stat.lastIndexOf(')') + 2)[0]);
  } catch {
    return false;
  }
}

export interface ILabOptions {
  baseUrl?: string;
  /** Called with the home folder before the server starts; returns variables for the server's environment. */
  prepare?: (home: string) => Record<string, string>;
}

export async function startLab(options: ILabOptions = {}): Promise<ILab> {
  // Short: paths of unix sockets are limited to about 100 bytes. With a space: users have them too.
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'ui '));
  const runtime = fs.mkdtempSync(path.join(os.tmpdir(), 'uir'));
  fs.chmodSync(runtime, 0o700);
  const folder = path.join(home, 'work');
  fs.mkdirSync(folder);
  for (const file of fs.readdirSync(path.join(REPOSITORY, 'notebooks'))) {
    if (file.endsWith('.ipynb')) {
      fs.copyFileSync(path.join(REPOSITORY, 'notebooks', file), path.join(folder, file));
    }
  }
  if (DATA) {
    fs.symlinkSync(DATA, path.join(folder, 'data'));
  }
  // Lab's own question about news would lie over what is looked at.
  const settings = path.join(home, 'config/lab/user-settings/@jupyterlab/apputils-extension');
  fs.mkdirSync(settings, { recursive: true });
  fs.writeFileSync(path.join(settings, 'notification.jupyterlab-settings'), '{"fetchNews": "false"}');
  const token = randomBytes(24).toString('hex');
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('JUPYTER'));
  const env: NodeJS.ProcessEnv = {
    ...Object.fromEntries(inherited),
    HOME: home,
    JUPYTER_DATA_DIR: path.join(home, 'data'),
    JUPYTER_CONFIG_DIR: path.join(home, 'config'),
    JUPYTER_RUNTIME_DIR: path.join(home, 'runtime'),
    XDG_RUNTIME_DIR: runtime,
    JUPYTER_TOKEN: token,
    ...options.prepare?.(home)
  };
  const log = path.join(home, 'server.log');
  let running = await launch(env, folder, log, options.baseUrl ?? '/');

  const api = (method: string, route: string, body?: unknown): Promise<Response> =>
    fetch(`${running.url}offload/v1${route}`, {
      method,
      headers: { Authorization: `token ${token}`, 'Content-Type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body)
    });

  const lab: ILab = {
    url: running.url,
    token,
    folder,
    home,
    runtime,
    pid: running.process.pid!,
    api,
    restart: async () => {
      running.process.kill('SIGKILL');
      await ended(running.process);
      running = await launch(env, folder, log, options.baseUrl ?? '/', new URL(running.url).port);
      lab.url = running.url;
      lab.pid = running.process.pid!;
    },
    stop: async () => {
      await stopClusters(api);
      const health = await api('GET', '/health').then(
        answer => answer.json() as Promise<{ pid: number }>,
        () => null
      );
      running.process.kill('SIGTERM');
      await ended(running.process);
      if (health !== null) {
        process.kill(health.pid, 'SIGTERM');
        for (let i = 0; isAlive(health.pid) && i < 100; i++) {
          await sleep(100);
        }
      }
      fs.rmSync(home, { recursive: true, force: true, maxRetries: 5 });
      fs.rmSync(runtime, { recursive: true, force: true, maxRetries: 5 });
    }
  };
  return lab;
}

async function launch(
  env: NodeJS.ProcessEnv,
  folder: string,
  log: string,
  baseUrl: string,
  port = '0'
): Promise<IRunning> {
  const out = fs.openSync(log, 'a');
  const before = new Set(servers(env));
  const child = spawn(
    PYTHON,
    [
      '-m',
      'jupyterlab',
      '--no-browser',
      '--allow-root',
      '--ServerApp.ip=127.0.0.1',
      `--ServerApp.port=${port}`,
      '--ServerApp.port_retries=0',
      `--ServerApp.base_url=${baseUrl}`,
      `--ServerApp.root_dir=${folder}`,
      '--LabApp.news_url=None',
      '--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate',
      '--LabApp.expose_app_in_browser=True'
    ],
    { env, stdio: ['ignore', out, out], detached: false }
  );
  fs.closeSync(out);
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < deadline && child.exitCode === null) {
    for (const file of servers(env).filter(name => !before.has(name))) {
      try {
        const info = JSON.parse(fs.readFileSync(file, 'utf8')) as { pid: number; url: string };
        if (info.pid === child.pid) {
          const answer = await fetch(`${info.url}api`, { signal: AbortSignal.timeout(5000) });
          if (answer.ok) {
            return { process: child, url: info.url };
          }
        }
      } catch {
        // half-written file or not listening yet
      }
    }
    await sleep(100);
  }
  child.kill('SIGKILL');
  throw new Error(`JupyterLab did not start:\n${fs.readFileSync(log, 'utf8').slice(-3000)}`);
}

function servers(env: NodeJS.ProcessEnv): string[] {
  const folder = env.JUPYTER_RUNTIME_DIR!;
  return fs.existsSync(folder)
    ? fs
        .readdirSync(folder)
        .filter(name => name.startsWith('jpserver-') && name.endsWith('.json'))
        .map(name => path.join(folder, name))
    : [];
}

function ended(child: ChildProcess): Promise<void> {
  return child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve()
    : new Promise(resolve => child.once('exit', () => resolve()));
}

async function stopClusters(api: ILab['api']): Promise<void> {
  try {
    const list = async (): Promise<{ id: string; phase: string }[]> =>
      ((await (await api('GET', '/clusters')).json()) as { clusters: [] }).clusters;
    const active = (clusters: { phase: string }[]): boolean =>
      clusters.some(c => !['stopped', 'failed'].includes(c.phase));
    for (const cluster of await list()) {
      if (active([cluster])) {
        await api('DELETE', `/clusters/${cluster.id}`);
      }
    }
    for (let i = 0; active(await list()) && i < 100; i++) {
      await sleep(200);
    }
  } catch {
    // the server is gone already; its test says so
  }
}
