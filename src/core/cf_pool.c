#include "cf_pool.h"
struct cf_pool { cf_host *host; };
cf_status cf_pool_create(cf_host *host, uint32_t n, cf_pool **p){ *p = cf_alloc(host,1,sizeof(cf_pool)); (*p)->host=host; return CF_OK;}
uint32_t cf_pool_threads(const cf_pool *p){return 1;}
cf_status cf_pool_run(cf_pool *p, cf_task t, void *c, size_t n){ for(size_t i=0;i<n;i++){ if(cf_should_stop(p->host)) return CF_STOPPED; t(c,i,0);} return CF_OK;}
void cf_pool_destroy(cf_pool *p){ if(p) cf_free(p->host,p);}
