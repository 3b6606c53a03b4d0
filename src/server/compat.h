/*
 * compat.h
 *	  Differences between PostgreSQL 14 and 18: the only place with version
 *	  numbers.
 */
#ifndef COLLAB_COMPAT_H
#define COLLAB_COMPAT_H

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "funcapi.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/regproc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#if PG_VERSION_NUM < 140000
#error "collab needs PostgreSQL 14 or later"
#endif

/* 15: one call to set a set-returning function up in materialize mode */
#if PG_VERSION_NUM < 150000
extern void CollabInitMaterializedSRF(FunctionCallInfo fcinfo, int flags);
#define InitMaterializedSRF CollabInitMaterializedSRF
#define MarkGUCPrefixReserved(name) EmitWarningsOnPlaceholders(name)
#endif

/* 16: PG_FUNCTION_INFO_V1 exports the function from a library that hides its symbols */
#define COLLAB_FUNCTION(name) \
	extern PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
	PG_FUNCTION_INFO_V1(name)

/* 16: one family of functions for all kinds of objects */
#if PG_VERSION_NUM < 160000
#define SchemaAclCheck(oid, role, mode) pg_namespace_aclcheck(oid, role, mode)
#define OwnsTable(oid, role) pg_class_ownercheck(oid, role)
#else
#define SchemaAclCheck(oid, role, mode) object_aclcheck(NamespaceRelationId, oid, role, mode)
#define OwnsTable(oid, role) object_ownercheck(RelationRelationId, oid, role)
#endif

/*
 * repalloc_huge that returns NULL where memory is short (16 has it), for the
 * core cannot be jumped out of.
 */
static inline void *
ReallocHugeNoError(void *block, Size bytes)
{
#if PG_VERSION_NUM >= 160000
	return repalloc_extended(block, bytes, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
#else
	MemoryContext context = GetMemoryChunkContext(block);

	return context->methods->realloc(context, block, bytes);
#endif
}

/* ARR_DATA_PTR, without the mixed signs that -Wextra warns of. */
static inline void *
ArrayData(ArrayType *array)
{
	return (char *) array + (array->dataoffset != 0 ? (Size) array->dataoffset :
							 ARR_OVERHEAD_NONULLS(ARR_NDIM(array)));
}

/* 16: soft errors */
static inline List *
QualifiedNameList(const char *name)
{
#if PG_VERSION_NUM >= 160000
	return stringToQualifiedNameList(name, NULL);
#else
	return stringToQualifiedNameList(name);
#endif
}

/* 18: a deferrable primary key has to be asked for */
static inline Oid
PrimaryKeyIndex(Relation relation)
{
#if PG_VERSION_NUM >= 180000
	return RelationGetPrimaryKeyIndex(relation, false);
#else
	(void) RelationGetIndexList(relation);
	return relation->rd_pkindex;
#endif
}

#endif							/* COLLAB_COMPAT_H */
