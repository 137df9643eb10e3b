def test_package_imports():
    import holdfast

    assert holdfast.__version__
