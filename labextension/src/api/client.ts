import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
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

/** The HTTP API, one function a route. `ServerConnection` adds base URL, token and XSRF cookie. */
export class OffloadClient {
  constructor(readonly settings: ServerConnection.ISettings) {}

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
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(
        url,
        {
          method,
          headers,
          body: options.body === undefined ? undefined : JSON.stringify(options.body),
          signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS)
        },
        this.settings
      );
    } catch (error) {
      throw OffloadProblem.from(error, 'unreachable');
    }
    if (!response.ok) {
      throw await readProblem(response);
    }
    return (response.status === 204 ? undefined : await response.json()) as T;
  }
}

function queryString(query: Query): string {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined);
  const text = new URLSearchParams(
    pairs.map(([key, value]) => [key, String(value)])
  ).toString();
  return text ? `?${text}` : '';
}

/** Answers that are not ours: the server refuses the user, or does not know our routes at all. */
const FOREIGN_CODES: Record<number, string> = { 403: 'forbidden', 404: 'extension-missing' };

/** Read a problem document; anything else (a proxy's page, a login redirect) becomes one. */
async function readProblem(response: Response): Promise<OffloadProblem> {
  const text = await response.text();
  let document: Partial<ProblemDocument> & { message?: string } = {};
  try {
    document = JSON.parse(text);
  } catch {
    // Not JSON: the status line is all there is.
  }
  return new OffloadProblem({
    type: 'about:blank',
    title: response.statusText,
    status: response.status,
    code: document.code ?? FOREIGN_CODES[response.status] ?? 'internal',
    detail: document.detail ?? document.message ?? `${response.status} ${response.statusText}`,
    field: document.field ?? null,
    hint: document.hint ?? null,
    transient: document.transient ?? response.status >= 502,
    request_id: document.request_id ?? null,
    errors: document.errors ?? []
  });
}
