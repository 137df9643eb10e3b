"""Own the tables of ``catalog.db``: what every face keeps in the database of a directory.

The meaning of each column stands in ``docs/format/catalog-db.md``; no statement is made here.

>>> CATALOG.format, CATALOG.version
('holdfast-catalog', 1)
"""

from __future__ import annotations

from holdfast.database.schema import Schema

__all__ = ["CATALOG", "DOCUMENT_PATH", "FAMILY_PATH", "ROOT", "SPECS_PATH"]

ROOT = 1
"""The id of the root node."""

FAMILY_PATH, SPECS_PATH, DOCUMENT_PATH = 1, 2, 3
"""The ids of the paths of structure family, of specs and of the metadata as a whole."""

_NODES = """
CREATE TABLE structures (
  id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, structure TEXT NOT NULL);
CREATE TABLE nodes (
  id INTEGER PRIMARY KEY, parent INTEGER NOT NULL, key TEXT NOT NULL, family TEXT NOT NULL,
  specs TEXT NOT NULL DEFAULT '[]', metadata TEXT NOT NULL DEFAULT '{}', origin TEXT,
  structure INTEGER REFERENCES structures, time_created REAL NOT NULL, time_updated REAL NOT NULL,
  children INTEGER NOT NULL DEFAULT 0, UNIQUE (parent, key));
CREATE INDEX nodes_children ON nodes (parent, id);
CREATE INDEX nodes_containers ON nodes (parent, id) WHERE children > 0;
CREATE TABLE paths (
  id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, bare TEXT NOT NULL, flags INTEGER NOT NULL DEFAULT 0);
CREATE INDEX paths_bare ON paths (bare);
CREATE INDEX paths_cut ON paths (bare) WHERE flags & 1;
CREATE TABLE node_values (
  parent INTEGER NOT NULL, path INTEGER NOT NULL, kind INTEGER NOT NULL, value NOT NULL,
  node INTEGER NOT NULL, PRIMARY KEY (parent, path, kind, value, node)) WITHOUT ROWID;
CREATE VIRTUAL TABLE node_text USING fts5 (text, content = '', tokenize = 'ascii');
INSERT INTO paths (id, path, bare) VALUES (1, '"family"', '"family"'), (2, '"specs"', '"specs"'),
  (3, '[]', '[]');
INSERT INTO nodes (id, parent, key, family, time_created, time_updated)
  SELECT 1, 0, '', 'container', now, now FROM (SELECT (julianday('now') - 2440587.5) * 86400.0 AS now);
INSERT INTO node_values VALUES (0, 1, 3, 'container', 1);
"""

_REVISIONS = """
CREATE TABLE revisions (
  node INTEGER NOT NULL REFERENCES nodes ON DELETE CASCADE, number INTEGER NOT NULL,
  metadata TEXT NOT NULL, specs TEXT NOT NULL, time REAL NOT NULL, PRIMARY KEY (node, number)) WITHOUT ROWID;
"""

_ASSETS = """
CREATE TABLE data_sources (
  id INTEGER PRIMARY KEY, node INTEGER NOT NULL REFERENCES nodes ON DELETE CASCADE, family TEXT NOT NULL,
  structure INTEGER REFERENCES structures, mimetype TEXT, parameters TEXT NOT NULL DEFAULT '{}',
  properties TEXT NOT NULL DEFAULT '{}', management TEXT NOT NULL DEFAULT 'external');
CREATE INDEX data_sources_node ON data_sources (node);
CREATE TABLE assets (
  id INTEGER PRIMARY KEY, location TEXT NOT NULL UNIQUE, is_directory INTEGER NOT NULL DEFAULT 0,
  size INTEGER, mtime_ns INTEGER, state TEXT NOT NULL DEFAULT 'pending', digest TEXT, digests TEXT);
CREATE INDEX assets_state ON assets (state, id) WHERE state <> 'verified';
CREATE INDEX assets_digest ON assets (digest) WHERE digest IS NOT NULL;
CREATE TABLE data_source_assets (
  data_source INTEGER NOT NULL REFERENCES data_sources ON DELETE CASCADE,
  asset INTEGER NOT NULL REFERENCES assets,
  parameter TEXT NOT NULL DEFAULT '', num INTEGER NOT NULL DEFAULT -1,
  PRIMARY KEY (data_source, parameter, num, asset)) WITHOUT ROWID;
CREATE INDEX data_source_assets_asset ON data_source_assets (asset);
CREATE TABLE block_digests (
  asset INTEGER PRIMARY KEY REFERENCES assets ON DELETE CASCADE, digests BLOB NOT NULL);
"""

_FACTS = """
CREATE TABLE links (
  id INTEGER PRIMARY KEY, source TEXT NOT NULL, relation TEXT NOT NULL, target TEXT NOT NULL,
  digest TEXT, rows TEXT, time REAL NOT NULL);
CREATE INDEX links_source ON links (source, relation);
CREATE INDEX links_target ON links (target, relation);
CREATE TABLE keys (
  id INTEGER PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE, scope TEXT NOT NULL, note TEXT NOT NULL DEFAULT '',
  time REAL NOT NULL, expires REAL, revoked REAL);
CREATE TABLE log (
  id INTEGER PRIMARY KEY, time REAL NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
  object TEXT NOT NULL, detail TEXT NOT NULL DEFAULT '{}');
CREATE TRIGGER log_is_kept BEFORE DELETE ON log BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER log_is_final BEFORE UPDATE ON log BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
"""

_DOCUMENTS = """
CREATE TABLE documents (
  id INTEGER PRIMARY KEY, parent INTEGER NOT NULL, uid TEXT NOT NULL, header TEXT, seq_num INTEGER,
  time NOT NULL, is_orphan INTEGER NOT NULL DEFAULT 0, body TEXT NOT NULL, UNIQUE (parent, uid));
CREATE INDEX documents_header ON documents (header, parent, seq_num) WHERE header IS NOT NULL;
CREATE INDEX documents_time ON documents (parent, time, uid);
CREATE INDEX documents_orphans ON documents (parent) WHERE is_orphan;
CREATE TABLE document_fields (
  parent INTEGER NOT NULL, field TEXT NOT NULL, upto INTEGER NOT NULL,
  PRIMARY KEY (parent, field)) WITHOUT ROWID;
"""

CATALOG = Schema("holdfast-catalog", ("".join((_NODES, _REVISIONS, _ASSETS, _FACTS, _DOCUMENTS)),))
"""The schema of ``catalog.db``."""
