// node check-types.mjs FOLDER: compares zeropool.json with the types that Grafana publishes, where FOLDER has
// node_modules by: npm install --prefix FOLDER @grafana/schema typescript
// Enumerations count as their values: a JSON file has no others. Types of Prometheus's own queries are not published.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const folder = process.argv[2];
const dashboard = JSON.parse(readFileSync(join(here, 'zeropool.json'), 'utf8'));
const types = '@grafana/schema/dist/types/raw';
const kinds = { timeseries: 'timeseries', stat: 'stat', gauge: 'gauge' };

let text = `import type { Dashboard } from '${types}/dashboard/x/types.gen';
import type { FieldConfig } from '${types}/composable/timeseries/panelcfg/x/types.gen';
type Plain<T> = unknown extends T ? T : T extends string ? \`\${T}\`
  : T extends number | boolean | null | undefined ? T
  : T extends (infer E)[] ? Plain<E>[] : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
`;
for (const kind of Object.keys(kinds)) {
  text += `import type { Options as Options_${kind} } from '${types}/composable/${kind}/panelcfg/x/types.gen';\n`;
}
text += `export const dashboard: Plain<Dashboard> = ${JSON.stringify(dashboard, null, 1)};\n`;
for (const panel of dashboard.panels) {
  if (panel.type === 'row') continue;
  if (!kinds[panel.type]) throw new Error(`a panel of kind ${panel.type} is not compared`);
  text += `export const options_${panel.id}: Plain<Partial<Options_${panel.type}>> = ${JSON.stringify(panel.options)};\n`;
  if (panel.type === 'timeseries') {
    text += `export const field_${panel.id}: Plain<FieldConfig> = ${JSON.stringify(panel.fieldConfig.defaults.custom)};\n`;
  }
}
writeFileSync(join(folder, 'dashboard.ts'), text);
execFileSync(process.execPath, [join(folder, 'node_modules', 'typescript', 'bin', 'tsc'), '--noEmit', '--strict',
  '--skipLibCheck', '--moduleResolution', 'node', '--target', 'es2020', 'dashboard.ts'], { cwd: folder, stdio: 'inherit' });
const version = JSON.parse(readFileSync(join(folder, 'node_modules', '@grafana', 'schema', 'package.json'), 'utf8')).version;
console.log(`zeropool.json is a dashboard by the types of @grafana/schema ${version}`);
