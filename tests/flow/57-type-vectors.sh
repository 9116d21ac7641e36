#!/bin/bash
# The types of pgvector, on a server that has it.
# limit: 420
PG_VERSION=vector
ONLY='(vector|halfvec|sparsevec).*'
. "$(dirname "$0")/57-types.sh"
forms io.debezium.data.DoubleVector io.debezium.data.FloatVector io.debezium.data.SparseDoubleVector
