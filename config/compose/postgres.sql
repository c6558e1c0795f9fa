-- A database of its own for NanoMDM, with the tables of its release (README, "With containers").
CREATE DATABASE nanomdm;
\connect nanomdm
\include /nanomdm-schema.sql
