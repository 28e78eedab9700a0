def write_claims_report(source, output):
    pass
