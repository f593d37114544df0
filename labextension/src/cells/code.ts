/** The Python that connects a kernel to a cluster. Only names and paths are in it, never a key or a token. */

/** Write a text as a Python string literal. JSON's escapes are a subset of Python's. */
export function pythonString(text: string): string {
  return JSON.stringify(text);
}

/** How a kernel reaches a cluster: through our package, or by the connection file if it lacks it. */
export type Route =
  { kind: 'package'; name: string } | { kind: 'file'; connectionFile: string };

/** Lines that leave `client` (and with our package `cluster`) behind. */
function connect(route: Route): string[] {
  if (route.kind === 'package') {
    return [
      'from dask.distributed import Client',
      'import jupyter_offload as offload',
      '',
      `cluster = offload.cluster(${pythonString(route.name)})`,
      'client = Client(cluster)'
    ];
  }
  return [
    'import json',
    'from pathlib import Path',
    'from dask.distributed import Client',
    'from distributed.security import Security',
    '',
    `connection = json.loads(Path(${pythonString(route.connectionFile)}).read_text())`,
    'tls = connection["tls"]',
    'security = tls and Security(',
    '    tls_ca_file=tls["ca_file"],',
    '    tls_client_cert=tls["cert_file"],',
    '    tls_client_key=tls["key_file"],',
    '    require_encryption=True,',
    ')',
    'client = Client(connection["scheduler_address"], security=security)'
  ];
}

/** The cell that `< >` inserts: the last line shows the client. */
export function clientCell(route: Route): string {
  return [...connect(route), 'client'].join('\n');
}

/** Whether a cell already is the client cell of this cluster, perhaps edited by its owner. */
export function isClientCell(source: string, route: Route): boolean {
  const [call, text] =
    route.kind === 'package' ? ['offload.cluster', route.name] : ['Path', route.connectionFile];
  const isNamed = [pythonString(text), `'${text}'`].some(it =>
    source.includes(`${call}(${it})`)
  );
  return isNamed && /\bClient\(/.test(source);
}

/**
 * What attaching runs silently: as the cell, but it leaves no other names than `cluster` and `client` behind, and does
 * nothing where `client` already is connected to this scheduler (the page was reloaded, the kernel was not).
 */
export function attachCode(route: Route, schedulerAddress: string): string {
  const names = route.kind === 'package' ? 'cluster, client' : 'client';
  return [
    'def _offload_attach():',
    `    global ${names}`,
    `    address = ${pythonString(schedulerAddress)}`,
    ...CLIENT_IS_OURS,
    '        return',
    ...connect(route).map(line => (line ? `    ${line}` : '')),
    '',
    'try:',
    '    _offload_attach()',
    'finally:',
    '    del _offload_attach'
  ].join('\n');
}

/** What detaching runs silently: close `client` if it still is the one of this cluster. */
export function detachCode(schedulerAddress: string): string {
  return [
    'def _offload_detach():',
    `    address = ${pythonString(schedulerAddress)}`,
    ...CLIENT_IS_OURS,
    '        current.close()',
    '',
    'try:',
    '    _offload_detach()',
    'finally:',
    '    del _offload_detach'
  ].join('\n');
}

const CLIENT_IS_OURS = [
  '    current = globals().get("client")',
  '    scheduler = getattr(current, "scheduler", None)',
  '    if getattr(current, "status", None) == "running" and getattr(scheduler, "address", None) == address:'
];
