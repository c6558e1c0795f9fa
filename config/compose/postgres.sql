-- A database of its own for NanoMDM, with the tables of its release (docs/deploy.md, "With containers").
CREATE DATABASE nanomdm;
\connect nanomdm
\include /nanomdm-schema.sql
