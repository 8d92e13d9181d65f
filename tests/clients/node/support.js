// What the scripts share.
'use strict';

const { pack, extract } = require('tar-stream');

// Runs named functions one after another and says which one failed.
exports.run = async (topics) => {
  for (const [name, topic] of Object.entries(topics)) {
    try {
      await topic();
      console.log(`ok ${name}`);
    } catch (error) {
      console.error(`FAILED ${name}:`, error);
      process.exit(1);
    }
  }
  // Connections that are kept alive must not keep the process.
  process.exit(0);
};

// Everything that a stream says.
const bytes = async (stream) => {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
};
exports.text = async (stream) => (await bytes(stream)).toString();

// An archive of {name: content}.
exports.tarball = (files) => {
  const tar = pack();
  for (const [name, content] of Object.entries(files)) tar.entry({ name }, content);
  tar.finalize();
  return bytes(tar);
};

// {name: content} of the files in an archive.
exports.untar = (stream) => new Promise((resolve, reject) => {
  const files = {};
  const tar = extract();
  tar.on('entry', (header, entry, next) => bytes(entry).then((data) => {
    if (header.type === 'file') files[header.name] = data.toString();
    next();
  }, next));
  tar.on('finish', () => resolve(files));
  tar.on('error', reject);
  stream.on('error', reject);
  stream.pipe(tar);
});
