// node check-types.mjs FOLDER: reads [[name, document], ...] as JSON from standard input and compares each document with the types and
// the schemas of its kind, where FOLDER has node_modules by: npm install --prefix FOLDER kubernetes-models ...
// Types find a field that does not exist (the schemas let it pass), schemas a value out of form (which types let pass).
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const folder = process.argv[2];
const documents = JSON.parse(readFileSync(0, 'utf8'));
// From a file in that folder, so that names are looked up there.
const loader = join(folder, 'load.mjs');
writeFileSync(loader, 'export const load = (name) => import(name);\n');
const { load } = await import(pathToFileURL(loader).href);

function moduleOf({ apiVersion, kind }) {
  const core = ['v1', 'apps/v1', 'networking.k8s.io/v1'];
  if (core.includes(apiVersion)) return `kubernetes-models/${apiVersion}/${kind}`;
  if (apiVersion === 'monitoring.coreos.com/v1') return `@kubernetes-models/prometheus-operator/${apiVersion}/${kind}`;
  throw new Error(`documents of ${apiVersion} are not compared`);
}

const complaints = [];
let text = '';
for (const [index, [name, document]] of documents.entries()) {
  const from = moduleOf(document);
  text += `import type { I${document.kind} as Type_${index} } from '${from}';\n`;
  text += `export const document_${index}: Type_${index} = ${JSON.stringify(document)};\n`;
  try {
    new ((await load(from))[document.kind])(document).validate();
  } catch (error) {
    complaints.push(`${name}: ${error.message}`);
  }
}
writeFileSync(join(folder, 'documents.ts'), text);
const compiled = spawnSync(process.execPath, [join(folder, 'node_modules', 'typescript', 'bin', 'tsc'), '--noEmit', '--strict',
  '--skipLibCheck', '--moduleResolution', 'node', '--target', 'es2020', 'documents.ts'], { cwd: folder, encoding: 'utf8' });
if (compiled.status !== 0) complaints.push(compiled.stdout + compiled.stderr);
for (const complaint of complaints) console.error(complaint);
process.exit(complaints.length === 0 ? 0 : 1);
