// Compiles Motoko: node compile.mjs SOURCE OUTPUT

import { readFileSync, writeFileSync } from 'node:fs';
import mo from 'motoko';

const [source, output] = process.argv.slice(2);
mo.write('Main.mo', readFileSync(source, 'utf8'));
writeFileSync(output, mo.wasm('Main.mo', 'ic').wasm);
