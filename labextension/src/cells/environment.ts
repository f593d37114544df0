import type { TranslationBundle } from '@jupyterlab/translation';
import type { Cluster, Connection, Environment } from '../api/types';
import type { Route } from './code';

/** The environment of a kernelspec; undefined where the keeper does not know it, as with remote kernels. */
export function kernelEnvironment(
  kernelName: string,
  environments: readonly Environment[]
): Environment | undefined {
  return environments.find(environment => environment.name === kernelName);
}

/** The environment that a cluster runs: its spec names a kernelspec or a Python, or leaves it to the default. */
export function clusterEnvironment(
  cluster: Cluster,
  environments: readonly Environment[]
): Environment | undefined {
  const wanted = cluster.spec.environment;
  return wanted
    ? environments.find(e => e.name === wanted || e.python === wanted)
    : environments.find(e => e.default);
}

/**
 * How a kernel reaches a cluster. A kernel that nobody knows anything about gets plain Dask, which works with or without
 * our package.
 */
export function chooseRoute(
  environment: Environment | undefined,
  cluster: Pick<Cluster, 'name'>,
  connection: Pick<Connection, 'connection_file'>
): Route {
  return environment && 'jupyter_offload' in environment.versions
    ? { kind: 'package', name: cluster.name }
    : { kind: 'file', connectionFile: connection.connection_file };
}

function minor(version: string | null): string | null {
  return version ? version.split('.').slice(0, 2).join('.') : null;
}

/** What differs between a kernel and a cluster so much that functions or data may not survive the way between them. */
export function versionWarnings(
  kernel: Environment | undefined,
  cluster: Environment | undefined,
  trans: TranslationBundle
): string[] {
  if (!kernel || !cluster || kernel.python === cluster.python) {
    return [];
  }
  const warnings: string[] = [];
  const compare = (what: string, ours: string | null, theirs: string | null) => {
    if (ours && theirs && ours !== theirs) {
      warnings.push(trans.__('The kernel has %1 %2, the cluster %1 %3.', what, ours, theirs));
    }
  };
  compare('Python', minor(kernel.python_version), minor(cluster.python_version));
  for (const name of ['dask', 'distributed']) {
    compare(name, kernel.versions[name] ?? null, cluster.versions[name] ?? null);
  }
  return warnings;
}
