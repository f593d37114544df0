/** A real JupyterHub below a URL prefix with its real proxy, as `tests/system/hub` starts it; ended by process id. */
import { spawn, execFileSync, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import { isAlive, PYTHON, REPOSITORY } from './lab.js';

const PROXY = path.join(REPOSITORY, 'tests/system/hub/proxy');
const BIN = path.dirname(PYTHON);
const START_TIMEOUT_MS = 90_000;

export interface IHub {
  /** Base URL with a trailing slash. */
  url: string;
  password: string;
  /** Everything that runs for the Hub's user, wherever it is. */
  processes: () => number[];
  stop: () => Promise<void>;
}

/** The proxy in the cache, keyed by its lock file; installed there once, also for the tests in Python. */
function proxyCommand(): string {
  const key = createHash('sha256').update(fs.readFileSync(path.join(PROXY, 'package-lock.json'))).digest('hex').slice(0, 16);
  const cache = path.join(process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache'), 'jupyter-offload');
  const folder = path.join(cache, `hub-proxy-${key}`);
  const command = path.join(folder, 'node_modules/.bin/configurable-http-proxy');
  if (!fs.existsSync(command)) {
    fs.mkdirSync(cache, { recursive: true });
    const part = fs.mkdtempSync(`${folder}-`);
    for (const name of ['package.json', 'package-lock.json']) {
      fs.copyFileSync(path.join(PROXY, name), path.join(part, name));
    }
    execFileSync('npm', ['ci', '--silent', '--no-audit', '--no-fund'], { cwd: part, timeout: 300_000 });
    fs.rmSync(folder, { recursive: true, force: true });
    fs.renameSync(part, folder);
  }
  return command;
}

/** Ports that the OS finds free. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = net.createServer();
      await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
      return server;
    })
  );
  const ports = servers.map(server => (server.address() as net.AddressInfo).port);
  await Promise.all(servers.map(server => new Promise(resolve => server.close(resolve))));
  return ports;
}

interface ISetup {
  /** Of the proxy, the Hub and the proxy's API. */
  ports: number[];
  home: string;
  args: string[];
  environment: Record<string, string>;
}

/** The Hub's configuration file. */
function configuration({ ports: [port, hub, api], home, args, environment }: ISetup): string {
  return `
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:${port}/prefix/"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:${hub}/prefix/"
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.authenticator_class = "dummy"
c.ConfigurableHTTPProxy.command = [${JSON.stringify(proxyCommand())}]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:${api}"
c.DummyAuthenticator.password = "pw"
c.Authenticator.allow_all = True
c.SimpleLocalProcessSpawner.home_dir_template = ${JSON.stringify(home)} + "/{username}"
c.Spawner.cmd = [${JSON.stringify(path.join(BIN, 'jupyterhub-singleuser'))}]
c.Spawner.args = ${JSON.stringify(args)}
c.Spawner.default_url = "/lab"
c.Spawner.start_timeout = 120
c.Spawner.http_timeout = 120
c.Spawner.environment = ${JSON.stringify(environment)}
`;
}

/** Start a Hub whose only user may be anybody with the password; `environment` is that of its servers. */
export async function startHub(environment: Record<string, string> = {}): Promise<IHub> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uih'));
  const runtime = fs.mkdtempSync(path.join(os.tmpdir(), 'uir'));
  const home = path.join(folder, 'home');
  fs.mkdirSync(home);
  const ports = await freePorts(3);
  const args = ['--LabApp.news_url=None', '--LabApp.expose_app_in_browser=True'];
  if (process.getuid?.() === 0) {
    args.push('--allow-root');
  }
  const config = path.join(folder, 'jupyterhub_config.py');
  fs.writeFileSync(config, configuration({ ports, home, args, environment: { XDG_RUNTIME_DIR: runtime, ...environment } }));
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('JUPYTER') && !name.startsWith('XDG_'))
  );
  const log = path.join(folder, 'hub.log');
  const out = fs.openSync(log, 'a');
  const child = spawn(path.join(BIN, 'jupyterhub'), ['--config', config], { cwd: folder, env, stdio: ['ignore', out, out] });
  fs.closeSync(out);
  let isStopped = false;
  const started: IHub = {
    url: `http://127.0.0.1:${ports[0]}/prefix/`,
    password: 'pw',
    processes: () => processesBelow(home),
    stop: async () => {
      if (isStopped) {
        return;
      }
      isStopped = true;
      const children = childrenOf(child.pid!);
      await end(child);
      for (const pid of [...children, ...processesBelow(home)].filter(isAlive)) {
        kill(pid);
      }
      for (let i = 0; processesBelow(home).some(isAlive) && i < 100; i++) {
        await sleep(100);
      }
      fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
      fs.rmSync(runtime, { recursive: true, force: true, maxRetries: 5 });
    }
  };
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (child.exitCode === null && Date.now() < deadline) {
    const answer = await fetch(`${started.url}hub/login`, { signal: AbortSignal.timeout(5000) }).catch(() => null);
    if (answer?.ok) {
      return started;
    }
    await sleep(200);
  }
  const said = fs.readFileSync(log, 'utf8').slice(-3000);
  await started.stop();
  throw new Error(`JupyterHub did not start:\n${said}`);
}

function sleep(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}

async function end(child: ChildProcess): Promise<void> {
  const ended = new Promise<void>(resolve => child.once('exit', () => resolve()));
  if (child.exitCode !== null || child.signalCode !== null) {
    return;
  }
  child.kill('SIGTERM');
  await Promise.race([ended, sleep(20_000).then(() => child.kill('SIGKILL'))]);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it ended meanwhile
  }
}

function pids(): number[] {
  return fs.readdirSync('/proc').filter(name => /^\d+$/.test(name)).map(Number);
}

/** Process ids whose home is below a folder. */
function processesBelow(folder: string): number[] {
  return pids().filter(pid => {
    try {
      return fs.readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').some(it => it.startsWith(`HOME=${folder}/`));
    } catch {
      return false;
    }
  });
}

function childrenOf(parent: number): number[] {
  const direct = pids().filter(pid => {
    try {
      return Number(/\nPPid:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) === parent;
    } catch {
      return false;
    }
  });
  return direct.flatMap(pid => [pid, ...childrenOf(pid)]);
}
