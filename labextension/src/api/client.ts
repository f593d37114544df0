import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { OffloadProblem } from './problem';
import type {
  Cluster,
  ClusterChangeInput,
  ClusterList,
  ClusterSpecInput,
  Connection,
  DashboardTarget,
  DashboardTicket,
  Environment,
  Findings,
  KeeperHealth,
  LogChunk,
  LogSource,
  Preview,
  ProblemDocument,
  Site,
  TimelineEntry
} from './types';

/** Path below the Jupyter server's base URL. */
export const API_PATH = 'offload/v1';

/** Requests that take longer than this are given up; the keeper answers everything at once. */
export const REQUEST_TIMEOUT_MS = 30_000;

type Query = Record<string, string | number | boolean | undefined>;

interface ICallOptions {
  body?: unknown;
  query?: Query;
  ifMatch?: number;
}

/**
 * The HTTP API, one function a route. `ServerConnection` adds base URL, token and XSRF cookie.
 *
 * Whatever goes wrong is an `OffloadProblem` with a sentence and a remedy: the keeper's own words, or ours where the
 * keeper could not be asked.
 */
export class OffloadClient {
  constructor(
    readonly settings: ServerConnection.ISettings,
    trans?: TranslationBundle
  ) {
    this._trans = trans ?? nullTranslator.load('jupyter_offload');
  }

  health(): Promise<KeeperHealth> {
    return this._call('GET', ['health']);
  }

  async listSites(): Promise<Site[]> {
    return (await this._call<{ sites: Site[] }>('GET', ['sites'])).sites;
  }

  checkSite(site: string): Promise<Findings> {
    return this._call('POST', ['sites', site, 'check']);
  }

  async listEnvironments(refresh = false): Promise<Environment[]> {
    const query = refresh ? { refresh } : undefined;
    return (
      await this._call<{ environments: Environment[] }>('GET', ['environments'], { query })
    ).environments;
  }

  listClusters(): Promise<ClusterList> {
    return this._call('GET', ['clusters']);
  }

  createCluster(id: string, spec: ClusterSpecInput): Promise<Cluster> {
    return this._call('POST', ['clusters'], { body: { id, spec } });
  }

  previewCluster(spec: ClusterSpecInput): Promise<Preview> {
    return this._call('POST', ['clusters', 'preview'], { body: spec });
  }

  getCluster(idOrName: string): Promise<Cluster> {
    return this._call('GET', ['clusters', idOrName]);
  }

  changeCluster(id: string, change: ClusterChangeInput, ifMatch?: number): Promise<Cluster> {
    return this._call('PATCH', ['clusters', id], { body: change, ifMatch });
  }

  /** Stop a cluster (gives the record) or forget a finished one (gives null). */
  async deleteCluster(id: string): Promise<Cluster | null> {
    return (await this._call<Cluster | undefined>('DELETE', ['clusters', id])) ?? null;
  }

  async clusterTimeline(id: string): Promise<TimelineEntry[]> {
    return (await this._call<{ entries: TimelineEntry[] }>('GET', ['clusters', id, 'timeline']))
      .entries;
  }

  async listLogs(id: string): Promise<LogSource[]> {
    return (await this._call<{ sources: LogSource[] }>('GET', ['clusters', id, 'logs']))
      .sources;
  }

  /** Read a piece of one log; a negative offset counts from the end. */
  readLog(id: string, source: string, offset: number, limit: number): Promise<LogChunk> {
    return this._call('GET', ['clusters', id, 'logs', source], { query: { offset, limit } });
  }

  clusterConnection(id: string): Promise<Connection> {
    return this._call('GET', ['clusters', id, 'connection']);
  }

  clusterDashboard(id: string): Promise<DashboardTarget> {
    return this._call('GET', ['clusters', id, 'dashboard']);
  }

  dashboardTicket(id: string): Promise<DashboardTicket> {
    return this._call('POST', ['clusters', id, 'dashboard', 'ticket']);
  }

  private async _call<T>(
    method: string,
    path: string[],
    options: ICallOptions = {}
  ): Promise<T> {
    const url =
      URLExt.join(this.settings.baseUrl, API_PATH, ...path.map(encodeURIComponent)) +
      queryString(options.query ?? {});
    const headers: Record<string, string> = {};
    if (options.body !== undefined) {
      headers['Content-Type'] = 'application/json';
    }
    if (options.ifMatch !== undefined) {
      headers['If-Match'] = `"${options.ifMatch}"`;
    }
    const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(
        url,
        {
          method,
          headers,
          body: options.body === undefined ? undefined : JSON.stringify(options.body),
          signal
        },
        this.settings
      );
    } catch {
      // Why is not told to scripts, except that the time is over.
      throw unreachable(signal.aborted ? REQUEST_TIMEOUT_MS / 1000 : null, this._trans);
    }
    if (!response.ok) {
      throw await readProblem(response, this._trans);
    }
    return (response.status === 204 ? undefined : await readJson(response, this._trans)) as T;
  }

  private readonly _trans: TranslationBundle;
}

function unreachable(reason: number | string | null, trans: TranslationBundle): OffloadProblem {
  const detail =
    typeof reason === 'number'
      ? trans.__('The Jupyter server did not answer within %1 s.', reason)
      : reason
        ? trans.__('The Jupyter server cannot be reached (%1).', reason)
        : trans.__('The Jupyter server cannot be reached.');
  return OffloadProblem.of('unreachable', detail, {
    hint: trans.__('Check the network, and that the server still runs.'),
    transient: true
  });
}

/** Read an answer; a page in its place is mostly a login page that the request was led to. */
async function readJson(response: Response, trans: TranslationBundle): Promise<unknown> {
  try {
    return await response.json();
  } catch {
    throw OffloadProblem.of(
      'internal',
      trans.__('Something else than the Jupyter server answered.'),
      { hint: trans.__('You may have been logged out: reload this page.') }
    );
  }
}

function queryString(query: Query): string {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined);
  const text = new URLSearchParams(
    pairs.map(([key, value]) => [key, String(value)])
  ).toString();
  return text ? `?${text}` : '';
}

/** What proxies and Hubs say when there is no server behind them. */
const NOBODY_THERE = new Set([424, 502, 503, 504]);

/** Read a problem document; anything else (a proxy's page, Jupyter's own refusal) becomes one. */
async function readProblem(
  response: Response,
  trans: TranslationBundle
): Promise<OffloadProblem> {
  const { status } = response;
  const line = `${status} ${response.statusText}`.trim();
  const text = await response.text().catch(() => '');
  let document: Partial<ProblemDocument> & { message?: string } = {};
  try {
    document = JSON.parse(text) ?? {};
  } catch {
    // Not JSON: the status line is all there is.
  }
  const { code, detail, message, ...rest } = document;
  if (code) {
    return OffloadProblem.of(code, detail ?? line, { ...rest, status });
  }
  if (NOBODY_THERE.has(status)) {
    return unreachable(line, trans);
  }
  switch (status) {
    case 403:
      return OffloadProblem.of('forbidden', message ?? line, {
        status,
        hint: trans.__('You may have been logged out: reload this page.')
      });
    case 404:
      return OffloadProblem.of(
        'extension-missing',
        trans.__('The Jupyter server does not know Offload.'),
        {
          status,
          hint: trans.__(
            'Enable its extension and restart the server: jupyter server extension enable jupyter_offload'
          )
        }
      );
    default:
      return OffloadProblem.of('internal', message ?? line, { status });
  }
}
