import type { components, paths } from './schema';

type Schemas = components['schemas'];
export type Alert = Schemas['Alert'];
export type AllCounts = Schemas['AllCounts'];
export type Asset = Schemas['Asset'];
export type AssetField = Schemas['AssetField'];
export type Change = Schemas['Change'];
export type Contact = Schemas['Contact'];
export type Counts = Schemas['Counts'];
export type Domain = Schemas['Domain'];
export type Drift = Schemas['Drift'];
export type DriftDecision = Schemas['DriftDecisionInputBody'];
export type DriftItem = Schemas['DriftItem'];
export type Found = Schemas['Found'];
export type Graph = Schemas['Graph'];
export type GraphLink = Schemas['Link'];
export type Imported = Schemas['Imported'];
export type Listed = Schemas['Listed'];
export type LiveAlerts = Schemas['LiveAlerts'];
export type LiveCounts = Schemas['LiveCounts'];
export type Me = Schemas['Me'];
export type MiningDetection = Schemas['MiningDetection'];
export type Mistake = Schemas['Mistake'];
export type Network = Schemas['Network'];
export type Problem = Schemas['Problem'];
export type Request = Schemas['Request'];
export type ScanJob = Schemas['ScanJob'];
export type ScanLeftOut = Schemas['ScanLeftOut'];
export type ScanStop = Schemas['ScanStop'];
export type StartedScan = Schemas['StartedScan'];
export type StartScan = Schemas['StartInputBody'];
export type System = Schemas['System'];
export type Unit = Schemas['Unit'];
export type UnitCounts = Schemas['UnitCounts'];
export type WhitelistEntry = Schemas['WhitelistEntry'];
export type Event = Record<string, unknown>;

type Method = 'get' | 'post' | 'put' | 'delete';

/** What an operation answers with, as the API's description says. */
type Answer<Operation> = Operation extends { responses: { 200: { content: { 'application/json': infer Body } } } } ? Body : void;

type Asked<Operation> = {
  query?: Operation extends { parameters: { query?: infer Query } } ? Query : never;
  body?: Operation extends { requestBody: { content: { 'application/json': infer Body } } } ? Body : never;
  file?: Operation extends { requestBody: { content: { 'application/octet-stream': unknown } } } ? Blob : never;
};

/** An error of the API, or of the way to it. */
export class ApiError extends Error {
  constructor(readonly problem: Pick<Problem, 'code' | 'status' | 'detail' | 'column' | 'errors' | 'fields'>) {
    super(problem.detail ?? problem.code);
  }
}

export async function call<Path extends keyof paths, M extends Method & keyof paths[Path]>(
  method: M,
  path: Path,
  asked: Asked<paths[Path][M]> = {},
): Promise<Answer<paths[Path][M]>> {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(asked.query ?? {})) {
    if (value !== undefined && value !== '') query.set(name, String(value));
  }
  const init: RequestInit = { method: method.toUpperCase() };
  if (asked.body !== undefined) {
    init.headers = { 'Content-Type': 'application/json' };
    init.body = JSON.stringify(asked.body);
  }
  if (asked.file !== undefined) {
    init.headers = { 'Content-Type': 'application/octet-stream' };
    init.body = asked.file;
  }
  let response: Response;
  try {
    response = await fetch(query.size > 0 ? `${path}?${query}` : path, init);
  } catch {
    throw new ApiError({ code: 'unreachable', status: 0 });
  }
  const text = await response.text();
  if (!response.ok) throw new ApiError(problemIn(text, response.status));
  return (text === '' ? undefined : JSON.parse(text)) as Answer<paths[Path][M]>;
}

function problemIn(text: string, status: number): Problem {
  try {
    return JSON.parse(text) as Problem;
  } catch {
    return { title: '', code: 'unreachable', status };
  }
}
