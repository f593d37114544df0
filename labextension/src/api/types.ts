import type { components } from './schema.gen';

type Schemas = components['schemas'];

export type Accelerator = Schemas['Accelerator'];
export type AcceleratorCapacity = Schemas['AcceleratorCapacity'];
export type Adaptive = Schemas['Adaptive'];
export type Capacity = Schemas['Capacity'];
export type Cluster = Schemas['Cluster'];
export type ClusterChange = Schemas['ClusterChange'];
export type ClusterList = Schemas['ClusterList'];
export type ClusterRequest = Schemas['ClusterRequest'];
export type ClusterSpec = Schemas['ClusterSpec'];
export type Connection = Schemas['Connection'];
export type DashboardPlot = Schemas['DashboardPlot'];
export type DashboardTarget = Schemas['DashboardTarget'];
export type DashboardTicket = Schemas['DashboardTicket'];
export type Environment = Schemas['Environment'];
export type FieldProblem = Schemas['FieldProblem'];
export type Finding = Schemas['Finding'];
export type Findings = Schemas['Findings'];
export type Health = Schemas['Health'];
export type KeeperHealth = Schemas['KeeperHealth'];
export type LogChunk = Schemas['LogChunk'];
export type LogSource = Schemas['LogSource'];
export type Phase = Schemas['Phase'];
export type Preview = Schemas['Preview'];
export type ProblemDocument = Schemas['ProblemDocument'];
export type Profile = Schemas['Profile'];
export type Reason = Schemas['Reason'];
export type Site = Schemas['Site'];
export type TimelineEntry = Schemas['TimelineEntry'];
export type Usage = Schemas['Usage'];
export type Worker = Schemas['Worker'];
export type WorkerStage = Schemas['WorkerStage'];

/** What a person asks for: only the name is needed, and sizes may be text such as "4 GiB" (the keeper reads it). */
export type ClusterSpecInput = Pick<ClusterSpec, 'name'> &
  Partial<Omit<ClusterSpec, 'memory_bytes'>> & { memory_bytes?: number | string | null };

/** A change of a running cluster; what is left out stays. */
export type ClusterChangeInput = Partial<ClusterChange>;
